/** Rows of 32-bit words from one buffer to another, bit for bit. */
import kernel from '../../../kernels/move-rows.wgsl';
import { elementGroups, type GpuContext, type GpuOperand } from './binding.ts';

export interface RowMove {
  from: GpuOperand;
  to: GpuOperand;
  /** How many, and their words. */
  rows: number;
  width: number;
  /** Words of a row of `to`, of which those past `width` become 0. Default `width`. */
  pitch?: number;
  /** Row of `from` of each; without a list row i is row i. */
  list?: GpuOperand;
  /** Word of `from` and of `to` at which row 0 starts. Default 0. */
  firstFrom?: number;
  firstTo?: number;
}

export function moveRows(gpu: GpuContext, { from, to, rows, width, pitch = width, list, firstFrom = 0, firstTo = 0 }: RowMove): void {
  gpu.dispatch(kernel, [from, list, to], { rows, width, pitch, firstFrom, firstTo, hasList: !!list }, elementGroups(rows * pitch));
}
