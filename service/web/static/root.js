// Where the service is: the scripts lie in static/<digest>/ below its root, whatever path that has.

const ROOT = new URL("../../", import.meta.url);

/** The address of a path below the root, such as `v1/studies`. */
export const at = (path) => new URL(path, ROOT).pathname + new URL(path, ROOT).search;

/** The root as people and commands write it. */
export const HERE = ROOT.href.replace(/\/$/, "");

/** The address of this page below the root, as the login leads back to it. */
export const here = () => `/${location.pathname.slice(ROOT.pathname.length)}${location.search}${location.hash}`;
