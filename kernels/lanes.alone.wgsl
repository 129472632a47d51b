// How invocations side by side share what all of them read; put in front of a kernel that declares `x`. Here: each loads it all.
// A kernel calls own(at) for a place that depends on own_lane(), and lane0(own, at) for the place of lane 0.
fn own_lane() -> u32 { return 0u; }
fn own(at: u32) -> f32 { return 0.0; }
fn lane0(own: f32, at: u32) -> f32 { return x[at]; }
fn lane1(own: f32, at: u32) -> f32 { return x[at]; }
fn lane2(own: f32, at: u32) -> f32 { return x[at]; }
fn lane3(own: f32, at: u32) -> f32 { return x[at]; }
