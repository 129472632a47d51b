/** All portable suites, in the order in which they run. */
import type { SuiteFunction } from '../harness.ts';
import { errorsSuite } from './errors.ts';
import { lawsSuite } from './laws.ts';
import { listsSuite } from './lists.ts';
import { opsSuite } from './ops.ts';
import { platformSuite } from './platform.ts';
import { viewsSuite } from './views.ts';

export const SUITES: Readonly<Record<string, SuiteFunction>> = {
  platform: platformSuite,
  ops: opsSuite,
  laws: lawsSuite,
  lists: listsSuite,
  views: viewsSuite,
  errors: errorsSuite,
};
