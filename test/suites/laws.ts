/**
 * Laws that hold whatever the numbers are, on every backend. Their titles say how exactly: to the bit where one backend does
 * the same arithmetic twice, within the tolerance where sums may be ordered differently.
 */
import { opener, type Suite } from '../harness.ts';
import { cacheLaws } from './laws/eviction.ts';
import type { Law } from './laws/law.ts';
import { memoryLaws } from './laws/memory.ts';
import { poisonLaws } from './laws/poison.ts';
import { rowListLaws } from './laws/row-lists.ts';
import { threadLaws } from './laws/threads.ts';
import { weightLaws } from './laws/weights.ts';

export function lawsSuite(t: Suite): void {
  for (const backendCase of t.platform.backends) {
    const open = opener(backendCase.create);
    const law: Law = (name, run) => t.test(`${name} [${backendCase.name}]`, async () => run(await open()));
    rowListLaws(law);
    weightLaws(law);
    cacheLaws(law);
    poisonLaws(law, backendCase);
    memoryLaws(t, backendCase, law);
    threadLaws(backendCase, law);
    law('the backend closes', async (backend) => backend[Symbol.asyncDispose]());
  }
}
