/** All portable suites, in the order in which they run. */
import type { SuiteFunction } from '../harness.ts';
import { errorsSuite } from './errors.ts';
import { lawsSuite } from './laws.ts';
import { opsSuite } from './ops.ts';
import { platformSuite } from './platform.ts';

export const SUITES: Readonly<Record<string, SuiteFunction>> = {
  platform: platformSuite,
  ops: opsSuite,
  laws: lawsSuite,
  errors: errorsSuite,
};
