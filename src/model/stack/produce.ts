import type { Backend } from '../../backend/backend.ts';
import type { Tensor } from '../../backend/tensor.ts';

/** A new f32 tensor that `fill` writes. When `fill` throws, the tensor is freed before the error goes on. */
export function produce(backend: Backend, shape: readonly number[], fill: (y: Tensor<'f32'>) => void): Tensor<'f32'> {
  const y = backend.empty({ dtype: 'f32', shape });
  try {
    fill(y);
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}
