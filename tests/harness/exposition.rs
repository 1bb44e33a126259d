//! Reading a page of Prometheus' text format.

use std::collections::BTreeSet;

/// The value of a series, written as on the page: `name{label="value"}`.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|value| value.parse().expect("a number"))
}

/// The page without what changes from scrape to scrape: each series once, with `x` for its labels' values and 0 for its
/// own. It is a sound page itself.
pub fn shape(page: &str) -> String {
    let mut shape = String::new();
    let mut family: BTreeSet<String> = BTreeSet::new();
    for line in page.lines().chain(["#"]) {
        if !line.starts_with('#') {
            family.insert(series_shape(line));
            continue;
        }
        for series in std::mem::take(&mut family) {
            shape.push_str(&series);
            shape.push('\n');
        }
        shape.push_str(line);
        shape.push('\n');
    }
    shape.trim_end_matches(['#', '\n']).to_owned()
}

fn series_shape(line: &str) -> String {
    let (series, _) = line.rsplit_once(' ').expect("a series and its value");
    let Some((name, labels)) = series.split_once('{') else {
        return format!("{series} 0");
    };
    let names: Vec<&str> = labels
        .split("\",")
        .filter_map(|label| label.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let labels: Vec<String> = names
        .iter()
        .map(|&name| format!("{name}=\"{}\"", if name == "le" { "+Inf" } else { "x" }))
        .collect();
    format!("{name}{{{}}} 0", labels.join(","))
}
