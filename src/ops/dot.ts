/** The sum over c of a[aOffset + c] * b[bOffset + c], in double precision: the product of the reference bindings. */
export function dot(a: ArrayLike<number>, aOffset: number, b: ArrayLike<number>, bOffset: number, length: number): number {
  let sum = 0;
  for (let c = 0; c < length; c++) sum += a[aOffset + c]! * b[bOffset + c]!;
  return sum;
}
