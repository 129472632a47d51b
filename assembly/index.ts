/** Every kernel of the binary, one line per file. Pointers are byte addresses, strides and counts are in elements unless named bytes. */
export { matmul } from './linear';
export { matmul_inner } from './gathered-ffn';
export { pack_lane_f16, raise_f16 } from './f16';
export { pack_lane_q4, pack_lane_q8, pack_rows_i8, pack_rows_i8_scratch_bytes } from './pack-i8';
export { matmul_scratch_bytes, nibble_bytes, panel_bytes, q8_levels, row_bytes, uses_relaxed_simd } from './weight-form';
export { pack_half_panel_f32, pack_rows_f32 } from './pack';
export { pack_patches_f32, start_patch_rows_f32 } from './patch-embedding';
export { attention, attention_scratch_bytes } from './attention';
export { attention_scores, attention_scores_scratch_bytes } from './attention-scores';
export { copy_runs } from './append-kv';
export { argmax } from './argmax';
export { merge_assign, merge_mean, merge_order, merge_units } from './merge';
export { move_rows } from './move-rows';
export { normalize_rows } from './norm';
export { rope } from './rope';
export { scatter_rows } from './scatter-rows';
export { summary, summary_scratch_bytes } from './summary';
export { top_k_rows, top_k_rows_scratch_bytes } from './top-k-rows';
