/** What build/check-house.ts forbids and is there all the same, each for a reason. One that is no longer needed fails the check. */
import type { Exception } from './check-house.ts';

export const EXCEPTIONS: readonly Exception[] = [
  {
    kind: 'lines',
    file: 'src,assembly,kernels',
    reason: 'the stack, declared arguments and the new ops brought more than left with the old kernels; 17,200 is the aim still',
  },
];
