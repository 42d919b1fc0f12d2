// The service's root: the scripts lie in static/<digest>/ below the root, whatever its path is.

const ROOT = new URL("../../", import.meta.url);

/** Return the address of a path below the root, for example `v1/studies`. */
export const at = (path) => new URL(path, ROOT).pathname + new URL(path, ROOT).search;

/** The root as people and commands write it. */
export const HERE = ROOT.href.replace(/\/$/, "");

/** Return the address of this page below the root, to which the login returns. */
export const here = () => `/${location.pathname.slice(ROOT.pathname.length)}${location.search}${location.hash}`;
