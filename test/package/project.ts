/** What the checks of the package share. */
export interface Project {
  /** This checkout. */
  root: string;
  /** Removed at the end. */
  temporary: string;
  /** A project that has the package installed. */
  folder: string;
  /** The installed package. */
  installed: string;
  tarball: string;
  files: readonly { path: string; size: number }[];
}

/** Throws when the package is not as it should be; a text it returns or resolves to is printed with its name. */
export type Check = (project: Project) => unknown;

/** Thrown by a check that cannot run here. */
export class Skip extends Error {}

export function fail(message: string): never {
  throw new Error(message);
}
