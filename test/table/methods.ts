/** One row per method. A new method needs one here: the methods suite fails without it, and `npm run eval` takes it from here. */
import type { MethodName } from '../../src/methods/index.ts';

export interface MethodRow {
  name: MethodName;
  /** Folder of examples/tiny-vlm with a checkpoint that the method runs on. */
  checkpoint: 'full' | 'skip';
  /** Field of eval/questions.jsonl with the answers that another implementation (PyTorch) gave with this method and checkpoint. */
  stored: string;
  /** Rows that a picture of 144 patches adds to the prompt, to the FFN of the first layer, and to the cache after prefill. */
  rows: { attended: number; ffn: number; kept: number };
}

export const METHOD_ROWS: readonly MethodRow[] = [
  { name: 'none', checkpoint: 'full', stored: 'full', rows: { attended: 144, ffn: 144, kept: 144 } },
  // Two layers hold all rows, two the better half.
  { name: 'fastv', checkpoint: 'full', stored: 'fastv', rows: { attended: 144, ffn: 144, kept: 108 } },
  // 25 retained, q1, 39 skipped, q2
  { name: 'skip-vision', checkpoint: 'skip', stored: 'skip_kv', rows: { attended: 66, ffn: 27, kept: 27 } },
];
