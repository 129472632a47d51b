import { Tensor } from '../../backend/tensor.ts';
import { gatheredFfn } from '../../ops/gathered-ffn.ts';
import type { Block } from './block.ts';
import type { RowList } from './hooks.ts';
import { intersect } from './rows.ts';
import type { Work } from './work.ts';

/** x[rows] += FFN(norm2(x[rows])) of the rows in both lists, a chunk at a time. Returns how many. */
export async function runFfn(
  work: Work,
  block: Block,
  x: Tensor<'f32'>,
  planned: RowList | undefined,
  wanted: Uint32Array | undefined,
  chunkSize = Number.POSITIVE_INFINITY,
): Promise<number> {
  const n = x.shape[0]!;
  const { activation, norm, eps } = block.spec;
  const run = (part: Tensor<'f32'>, rows?: Tensor<'u32'>) =>
    work.run(gatheredFfn, { x: part, rows, ...block.ffn }, { activation, norm, eps });
  if (planned instanceof Tensor) {
    // Which of them are wanted is not known here: the last block may run more of them than that.
    run(x, planned);
    return planned.size;
  }
  const rows = intersect(planned, wanted);
  const list = rows && rows.length < n ? rows : undefined;
  const count = list?.length ?? n;
  for (let start = 0; start < count; start += chunkSize) {
    const end = Math.min(count, start + chunkSize);
    using uploaded = list && work.backend.upload(list.subarray(start, end));
    if (uploaded) run(x, uploaded);
    else run(count > chunkSize ? x.slice(start, end) : x);
    if (end < count) await work.rest(end - start);
  }
  return count;
}
