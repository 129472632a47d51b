/** Packs weights of int8 and of 4 bits, a slice of rows at a time. */
import { BLOCK, blocksOf, type MatrixReader, q4Of, quantizeQ8 } from '../quantize.ts';
import type { Form, WasmKernels } from './binding.ts';
import { type LinearMemory, staged } from './memory.ts';

/** Where a row of a matrix goes. */
export interface Slot {
  panel: number;
  lane: number;
}

/** What a slice is packed with. */
export interface Target {
  memory: LinearMemory;
  kernels: WasmKernels;
  form: Form;
  panelBytes: number;
  slot(row: number): Slot;
}

/** Packs rows [first, first + count). Returns the bits of the largest f16 among them, without its sign. */
export type Packer = (target: Target, matrix: MatrixReader, first: number, count: number) => number;

export function packQ8({ memory, kernels, slot }: Target, matrix: MatrixReader, first: number, count: number): number {
  const K = matrix.shape[1];
  const columns = blocksOf(K) * BLOCK;
  const levels = kernels.q8_levels() as 63 | 127;
  const { codes, scales } = quantizeQ8(matrix.rows(first, count), count, K, levels);
  // 7-bit codes have their zero at 64.
  if (levels === 63) for (let i = 0; i < codes.length; i++) codes[i]! += 64;
  staged(memory, codes, (staging) => {
    for (let row = 0; row < count; row++) {
      const { panel, lane } = slot(first + row);
      kernels.pack_lane_q8(panel, lane, staging + row * columns, columns, scales[row]!);
    }
  });
  return 0;
}

export function packQ4({ memory, kernels, form, panelBytes, slot }: Target, matrix: MatrixReader, first: number, count: number): number {
  let largest = 0;
  const blocks = blocksOf(matrix.shape[1]);
  const { codes, scales, zeros } = q4Of(matrix, first, count);
  staged(memory, codes, (staging) =>
    staged(memory, scales, (scaleAt) =>
      staged(memory, zeros, (zeroAt) => {
        for (let row = 0; row < count; row++) {
          const { panel, lane } = slot(first + row);
          const at = row * blocks;
          // Nibbles are put into their bytes one lane after the other.
          if (lane === 0) memory.bytes(panel, panelBytes).fill(0);
          const scale = kernels.pack_lane_q4(panel, lane, staging + at * BLOCK, blocks * BLOCK, scaleAt + 2 * at, zeroAt + at, form);
          largest = Math.max(largest, scale);
        }
      }),
    ),
  );
  return largest;
}
