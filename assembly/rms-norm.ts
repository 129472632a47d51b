import { normalize } from './norm';

/** y = x / sqrt(mean(x^2) + eps) * weight. x, y [T, D]; weight [D]. */
export function rms_norm(x: usize, weight: usize, y: usize, T: i32, D: i32, eps: f32): void {
  for (let t = 0; t < T; t++, x += D << 2, y += D << 2) normalize(y, 4, x, D, eps, weight, 0, false, false);
}
