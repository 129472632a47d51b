import { normalize } from './norm';

/** y = (x - mean) / sqrt(var + eps) * weight + bias. x, y [T, D]; weight, bias (or 0) [D]. */
export function layer_norm(x: usize, weight: usize, bias: usize, y: usize, T: i32, D: i32, eps: f32): void {
  for (let t = 0; t < T; t++, x += D << 2, y += D << 2) normalize(y, 4, x, D, eps, weight, bias, true, false);
}
