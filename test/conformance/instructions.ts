/**
 * Instructions that a CPU may lack, and relaxed SIMD then computes otherwise: fused multiply-adds (FMA) and dot products of bytes
 * (VNNI). V8 leaves them aside when its flags say so.
 */
const INSTRUCTIONS = {
  fma: ['--no-enable-fma3'],
  vnni: ['--no-enable-avx-vnni', '--no-enable-avx-vnni-int8'],
} as const;
export type Instruction = keyof typeof INSTRUCTIONS;

/** `fma,vnni` -> both; undefined if there is another name in it. */
export function instructionsOf(list: string): Instruction[] | undefined {
  const names = list.split(',').filter(Boolean);
  return names.every((name) => Object.hasOwn(INSTRUCTIONS, name)) ? (names as Instruction[]) : undefined;
}

/** Flags of `node`. They must be there when the engine starts, so another process is needed. */
export function flagsWithout(instructions: readonly Instruction[]): string[] {
  return instructions.flatMap((name) => INSTRUCTIONS[name]);
}

/** Which of them the engine uses here, told from results that only they give. All are false where it has no relaxed SIMD. */
export function usedHere(): Record<Instruction, boolean> {
  if (!WebAssembly.validate(MODULE)) return { fma: false, vnni: false };
  const { madd, dot } = new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports as Record<string, (...values: number[]) => number>;
  const x = 1 + 2 ** -12;
  // x * x = 1 + 2^-11 + 2^-24, which f32 rounds to 1 + 2^-11: a product rounded on its own loses the last term.
  const fused = madd!(x, x, -1 - 2 ** -11) !== 0;
  // 4 * 127 * 255. Pairs summed in 16 bits, as without VNNI, are capped at 32767, or take 255 for -1.
  const wide = dot!(127, 255) === 4 * 127 * 255;
  return { fma: fused, vnni: wide };
}

/**
 * (module
 *   (func (export "madd") (param f32 f32 f32) (result f32) ... f32x4.splat of each, f32x4.relaxed_madd, f32x4.extract_lane 0)
 *   (func (export "dot") (param i32 i32) (result i32) ... i8x16.splat of each, a zero, i32x4.relaxed_dot_i8x16_i7x16_add_s,
 *     i32x4.extract_lane 0))
 */
const MODULE = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 14, 2, 0x60, 3, 0x7d, 0x7d, 0x7d, 1, 0x7d, 0x60, 2, 0x7f, 0x7f, 1, 0x7f],
  ...[3, 3, 2, 0, 1],
  ...[7, 14, 2, 4, 0x6d, 0x61, 0x64, 0x64, 0, 0, 3, 0x64, 0x6f, 0x74, 0, 1],
  ...[10, 43, 2],
  ...[20, 0, 0x20, 0, 0xfd, 0x13, 0x20, 1, 0xfd, 0x13, 0x20, 2, 0xfd, 0x13, 0xfd, 0x85, 2, 0xfd, 0x1f, 0, 0x0b],
  ...[20, 0, 0x20, 0, 0xfd, 0x0f, 0x20, 1, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x11, 0xfd, 0x93, 2, 0xfd, 0x1b, 0, 0x0b],
]);
