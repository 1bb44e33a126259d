//! How much work it is to check arguments against a JSON Schema, reckoned before any are checked: a schema of 3 KB may say
//! that a thing is looked at 2^40 times, or refer to itself without an end.
//!
//! A schema is a graph. Some of its edges stay at a place of the arguments (`allOf`, `$ref`), others lead below it
//! (`properties`, `items`). Reckoned is how many steps are taken at one place at most, by how deep it lies. Recursion that
//! leads into the arguments ends where they do; recursion that stays is refused.

mod graph;

use serde_json::Value;

use self::graph::Node;

/// Deepest nesting of a schema, as it is written and with what it refers to: whoever reads it goes as deep.
const DEPTH_MAX: usize = 64;
/// Most of its schemas that lead to one that refers to itself: nobody knows how deep these are.
const RECURSIVE_MAX: usize = 128;
/// Deepest nesting of arguments.
const LEVELS_MAX: usize = 32;
/// The same of a recursive schema that is still of use.
const LEVELS_MIN: usize = 3;
/// Most steps at one place of the arguments.
const STEPS_MAX: u64 = 10_000;
/// Deepest chain of schemas from the top of the arguments to a place in them.
const CHAIN_MAX: u64 = 256;
/// Within a schema that asks what others have looked at, these are asked again, and so on.
const AGAIN: u64 = 3;
/// Most steps for all arguments: a second at most.
const WORK_MAX: u64 = 1 << 20;
/// So many bytes of a text are like one more place.
const PLACE_BYTES: usize = 256;

const TOO_DEEP: &str = "its schema is nested too deep";

/// Steps at one place of arguments at most, by how deep these are nested.
#[derive(Debug)]
pub(super) struct Effort(Vec<u64>);

impl Effort {
    /// Reckons it.
    ///
    /// # Errors
    /// Why arguments had better not be checked against this schema.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let nodes = graph::of(schema)?;
        check_depth(&nodes)?;
        reckon(&nodes)
    }

    /// More steps than arguments of so many bytes can make.
    pub(super) fn of_bytes(&self, bytes: usize) -> u64 {
        let steps = self.0.last().copied().unwrap_or(STEPS_MAX);
        steps.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// Whether arguments are few enough, and not nested too deep.
    pub(super) fn allows(&self, arguments: &Value) -> bool {
        let (places, depth) = measure(arguments);
        let steps = self.0.get(depth).copied();
        steps.is_some_and(|steps| steps.saturating_mul(places) <= WORK_MAX)
    }
}

/// Places of a value, and how deep the deepest lies.
fn measure(value: &Value) -> (u64, usize) {
    let more = |(places, depth): (u64, usize), (others, below): (u64, usize)| {
        (places + others, depth.max(below + 1))
    };
    match value {
        Value::String(text) => (places_of(text), 0),
        Value::Array(items) => items.iter().map(measure).fold((1, 0), more),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let (places, depth) = measure(value);
                (places + places_of(name), depth)
            });
            fields.fold((1, 0), more)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => (1, 0),
    }
}

fn places_of(text: &str) -> u64 {
    1 + u64::try_from(text.len() / PLACE_BYTES).unwrap_or(u64::MAX / 2)
}

/// Refuses what is nested too deep with all that is referred to.
fn check_depth(nodes: &[Node]) -> Result<(), String> {
    let order = sorted(nodes, Node::children);
    let mut depths = vec![0; nodes.len()];
    for place in &order {
        let below = nodes[*place].children();
        let below = below.iter().map(|child| depths[*child]).max();
        depths[*place] = 1 + below.unwrap_or(0);
    }
    let deepest = depths.iter().max().copied().unwrap_or(0);
    if deepest > DEPTH_MAX || nodes.len() - order.len() > RECURSIVE_MAX {
        return Err(TOO_DEEP.to_owned());
    }
    Ok(())
}

/// The nodes, each after all its children; without those that lead to one that is among its own.
fn sorted(nodes: &[Node], children: impl Fn(&Node) -> Vec<usize>) -> Vec<usize> {
    let children: Vec<Vec<usize>> = nodes.iter().map(children).collect();
    let mut parents = vec![Vec::new(); nodes.len()];
    for (parent, children) in children.iter().enumerate() {
        for child in children {
            parents[*child].push(parent);
        }
    }
    let mut waiting: Vec<usize> = children.iter().map(Vec::len).collect();
    let is_ready = |place: &usize| waiting[*place] == 0;
    let mut order: Vec<usize> = (0..nodes.len()).filter(is_ready).collect();
    let mut done = 0;
    while let Some(child) = order.get(done).copied() {
        done += 1;
        for parent in &parents[child] {
            waiting[*parent] -= 1;
            if waiting[*parent] == 0 {
                order.push(*parent);
            }
        }
    }
    order
}

/// Reckons the steps at a place, for one depth after the other, as far as there are not too many.
fn reckon(nodes: &[Node]) -> Result<Effort, String> {
    let order = sorted(nodes, |node| node.here.clone());
    if order.len() < nodes.len() {
        return Err("its schema refers to itself without an end".to_owned());
    }
    // Of each: steps at one place that lies so deep below, and the longest chain to it.
    let mut before = vec![(0_u64, 0_u64); nodes.len()];
    let mut most = 0;
    let mut efforts = Vec::new();
    for level in 0..=LEVELS_MAX {
        let mut now = vec![(0, 0); nodes.len()];
        for place in &order {
            let node = &nodes[*place];
            let below = node.below.iter().map(|schemas| {
                let steps = schemas.iter().map(|schema| before[*schema].0);
                steps.max().unwrap_or(0)
            });
            let own = if level == 0 {
                node.steps
            } else {
                below.fold(0, u64::saturating_add)
            };
            let here = node.here.iter().map(|schema| now[*schema].0);
            let here = here.fold(0, u64::saturating_add);
            let times = if node.asks_again { AGAIN } else { 1 };
            let chains = node.here.iter().map(|schema| now[*schema].1);
            let below = node.below.iter().flatten().map(|schema| before[*schema].1);
            now[*place] = (
                own.saturating_add(here.saturating_mul(times)),
                1 + chains.chain(below).max().unwrap_or(0),
            );
        }
        // The first of them is the whole.
        let (steps, chain) = now.first().copied().unwrap_or_default();
        most = steps.max(most);
        if most > STEPS_MAX || chain > CHAIN_MAX {
            break;
        }
        efforts.push(most);
        before = now;
    }
    let is_recursive = sorted(nodes, Node::children).len() < nodes.len();
    let least = if is_recursive { LEVELS_MIN } else { LEVELS_MAX };
    if efforts.len() <= least {
        return Err("checking arguments against its schema is too much work".to_owned());
    }
    Ok(Effort(efforts))
}

#[cfg(test)]
mod tests;
