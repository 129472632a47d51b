/** Placeholder of a binding that is still to be written. */
export function pending(): never {
  throw new Error('binding not written yet');
}
