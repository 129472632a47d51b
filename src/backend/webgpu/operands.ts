/** Tensors and weights as kernels take them. */
import type { Operands } from '../backend.ts';
import type { Signature } from '../op.ts';
import { byteOffsetOf, storageOf, Tensor } from '../tensor.ts';
import type { GpuContext } from './binding.ts';
import type { GpuMemory } from './buffers.ts';
import { moveRows, type RowMove } from './move-rows.ts';

/** Bytes that any kernel's array has at least: one vec4. */
const LEAST_BINDING = 16;
const NONE: RowMove[] = [];

/**
 * A view is bound where it starts if bindings may start there: at a multiple of `alignment` bytes. Otherwise a copy takes its place, which
 * is made before the op, of outputs too, as an op may write a part of them only. Where the op writes it, one of the moves `back`, to be made
 * after the op, copies it back.
 */
export function bindOperands(
  gpu: GpuContext,
  signature: Signature,
  operands: Operands,
  alignment: number,
): { io: Readonly<Record<string, unknown>>; back: readonly RowMove[] } {
  const io: Record<string, unknown> = {};
  let back = NONE;
  for (const name in operands) {
    const operand = operands[name];
    if (!operand) continue;
    if (!(operand instanceof Tensor)) {
      io[name] = operand.handle;
      continue;
    }
    const memory = storageOf(operand).handle as GpuMemory;
    const offset = byteOffsetOf(operand);
    const bytes = memory.bytes - offset;
    if (offset === 0 || operand.size === 0) io[name] = memory;
    else if (offset % alignment === 0 && bytes >= LEAST_BINDING) io[name] = { buffer: memory.buffer, offset, bytes, id: memory.id, memory };
    else {
      const copy = gpu.scratch(operand.bytes);
      const [word, width] = [offset / 4, operand.bytes / 4];
      io[name] = copy;
      moveRows(gpu, { rows: 1, width, from: memory, firstFrom: word, to: copy });
      const declared = signature[name]!;
      if (declared.kind === 'tensor' && declared.access !== 'in')
        back = [...back, { rows: 1, width, from: copy, to: memory, firstTo: word }];
    }
  }
  return { io, back };
}
