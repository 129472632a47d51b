/**
 * The entry of the bundle, in any runtime. It is given the claim about the platform as JSON, prints each result as a line of
 * JSON, and `{"done":true}` at the end.
 */
import { collect, runTests } from '../harness.ts';
import { type Claim, platformOf } from '../platform.ts';
import { SUITES } from '../suites/index.ts';
import { givenArgument } from './argument.ts';

export interface PortableClaim extends Claim {
  /** The suites to run; all without it. */
  suites?: readonly string[];
}

const claim = JSON.parse(givenArgument()) as PortableClaim;

const suites = Object.fromEntries(Object.entries(SUITES).filter(([name]) => claim.suites?.includes(name) ?? true));
await runTests(collect(suites, platformOf(claim)), (result) => console.log(JSON.stringify(result)));
console.log(JSON.stringify({ done: true }));
