/** The A side of the patch embedding: a convolution whose stride is its kernel size is a product over packed patches. */
import { filled, packed_address, packed_step } from './pack';

/**
 * Patches first .. first + count of pixels [channels, height, width], in raster order, as packed A (pack.ts) of
 * K = channels * size^2 columns: k = (channel, row, column) within the patch.
 */
export function pack_patches_f32(
  out: usize, pixels: usize, first: i32, count: i32, group: i32, channels: i32, height: i32, width: i32, size: i32,
): void {
  const across = width / size;
  const line = (<usize>width) << 2;
  for (let i = 0, end = filled(count, group); i < end; i++) {
    const patch = first + min(i, count - 1);
    const step = packed_step(i, count, group);
    let to = packed_address(out, i, group, (channels * size * size) << 2);
    const corner = pixels + <usize>((patch / across) * size) * line + <usize>(((patch % across) * size) << 2);
    for (let channel = 0; channel < channels; channel++) {
      let from = corner + <usize>(channel * height) * line;
      for (let row = 0; row < size; row++, from += line) {
        for (let column = 0; column < size; column++, to += step) store<f32>(to, load<f32>(from + (column << 2)));
      }
    }
  }
}

/** What y [P, D] starts from: positions, or undefined without (0), and in row 0 class + position. Absent ones are 0. */
export function start_patch_rows_f32(y: usize, positions: usize, classRow: usize, P: i32, D: i32): void {
  if (positions) memory.copy(y, positions, (<usize>(P * D)) << 2);
  for (let d = 0; classRow && d < D; d++) {
    const at = d << 2;
    store<f32>(y + at, positions ? load<f32>(y + at) + load<f32>(classRow + at) : load<f32>(classRow + at));
  }
}
