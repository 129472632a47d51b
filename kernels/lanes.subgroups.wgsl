// The same by subgroups, which have four invocations at least: each of four loads a quarter. An adapter for which a load is a loop
// over invocations compiles and runs that sooner.
enable subgroups;
fn own_lane() -> u32 { return subgroupExclusiveAdd(1u) % 4u; }
fn own(at: u32) -> f32 { return x[at]; }
fn lane0(own: f32, at: u32) -> f32 { return subgroupBroadcast(own, 0u); }
fn lane1(own: f32, at: u32) -> f32 { return subgroupBroadcast(own, 1u); }
fn lane2(own: f32, at: u32) -> f32 { return subgroupBroadcast(own, 2u); }
fn lane3(own: f32, at: u32) -> f32 { return subgroupBroadcast(own, 3u); }
