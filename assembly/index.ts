/** Every kernel of the binary, one line per file. Pointers are byte addresses, strides and counts are in elements unless named bytes. */
export { fill_f32, uses_relaxed_simd } from './fill';
export { matmul_f32 } from './linear';
export { matmul_inner_f32 } from './gathered-ffn';
export { pack_half_panel_f32, pack_normed_rows_f32, pack_rows_f32 } from './pack';
export { pack_patches_f32, start_patch_rows_f32 } from './patch-embedding';
export { attention } from './attention';
export { attention_scores } from './attention-scores';
export { append_kv } from './append-kv';
export { argmax } from './argmax';
export { compact_kv } from './compact-kv';
export { embedding } from './embedding';
export { layer_norm } from './layer-norm';
export { merge_assign, merge_mean, merge_order, merge_units } from './merge';
export { rms_norm } from './rms-norm';
export { rope_interleaved, rope_neox } from './rope';
export { summary } from './summary';
export { top_k_rows } from './top-k-rows';
