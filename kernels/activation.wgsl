// Activation functions, put in front of the kernels that use them. `code` is the index in ACTIVATIONS of
// src/ops/activation.ts. No form overflows into NaN for finite x; NaN passes through all of them.

// exp of a non-positive number only.
fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// (1 + erf(x / sqrt(2))) / 2. erf is within 6e-8 (absolute), and so is erfc in the lower tail, where 1 + erf would cancel.
fn normal_cdf(x: f32) -> f32 {
  let a = x * 0.70710678;
  let s = a * a;
  if (s < 0.86) {
    var r = -5.96761703e-4;
    r = fma(r, s, 4.99119423e-3);
    r = fma(r, s, -2.67681349e-2);
    r = fma(r, s, 1.12819925e-1);
    r = fma(r, s, -3.76125336e-1);
    r = fma(r, s, 1.28379166e-1);
    return 0.5 + 0.5 * fma(r, a, a);
  }
  let t = min(abs(a), 10.0); // erfc(10) is 0 in f32; beyond, the polynomial overflows
  let q = t * t;
  var r = fma(-1.72853470e-5, t, 3.83197126e-4);
  r = fma(r, q, fma(-3.88396438e-3, t, 2.42546219e-2));
  r = fma(r, t, -1.06777877e-1);
  r = fma(r, t, -6.34846687e-1);
  r = fma(r, t, -1.28717512e-1);
  let upper = 0.5 * exp(fma(r, t, -t)); // erfc(t) / 2
  return select(1.0 - upper, upper, x < 0.0);
}

fn activate(code: u32, x: f32) -> f32 {
  switch code {
    case 1u: { return x * sigmoid(x); } // silu
    case 2u: { return x * normal_cdf(x); } // gelu
    case 3u: { return x * sigmoid(1.5957691 * (x + 0.044715 * x * x * x)); } // gelu_tanh: (1 + tanh z) / 2 = sigmoid(2 z)
    case 4u: { return x * sigmoid(1.702 * x); } // quick_gelu
    case 5u: { return select(x, 0.0, x <= 0.0); } // relu
    default: { return x; }
  }
}
