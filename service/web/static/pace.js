// The pace of work: not too often, not while the page is hidden.

/**
 * Return a function that runs `work` soon, at most once every `milliseconds`, never twice at a time. Its `now` does not
 * wait for the milliseconds to pass.
 */
export function atMost(milliseconds, work) {
  let timer = null;
  let busy = false;
  let again = false;
  let last = -Infinity;
  async function run() {
    timer = null;
    busy = true;
    last = performance.now();
    try {
      await work();
    } finally {
      busy = false;
      if (again) soon();
    }
  }
  function soon() {
    again = busy;
    if (busy || timer !== null) return;
    timer = setTimeout(run, Math.max(0, last + milliseconds - performance.now()));
  }
  soon.now = () => {
    last = -Infinity;
    clearTimeout(timer);
    timer = null;
    soon();
  };
  return soon;
}

/**
 * Run `work` now and `milliseconds` after each end, while the page is visible. The returned function runs it at once,
 * or once more if it is running.
 */
export function whileVisible(milliseconds, work) {
  let timer = null;
  let busy = false;
  let again = false;
  async function run() {
    again = busy;
    if (busy || document.hidden) return;
    busy = true;
    clearTimeout(timer);
    try {
      await work();
    } finally {
      busy = false;
      timer = setTimeout(run, again ? 0 : milliseconds);
    }
  }
  document.addEventListener("visibilitychange", run);
  run();
  return run;
}
