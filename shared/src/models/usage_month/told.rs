//! What a user was told of a limit, and what is to be told next.

/// The largest limits of which it was told that they are near, and reached. A larger one, of an operator or of another tier, is
/// another limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) near: Option<i64>,
    pub(super) reached: Option<i64>,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossed {
    Near,
    Reached,
}

impl Told {
    /// Whether it was told that this limit is reached.
    pub(super) fn is_reached(self, limit: i64) -> bool {
        self.reached.is_some_and(|told| told >= limit)
    }

    /// What is to be told now, and what has been told then. That a limit is reached tells of its nearness, too.
    ///
    /// Turns that are written together know the same rule (`turn::end`).
    pub(super) fn after(self, used: i64, limit: i64) -> (Self, Option<Crossed>) {
        let near = self.near.max(Some(limit));
        if used >= limit && !self.is_reached(limit) {
            let reached = Some(limit);
            (Self { near, reached }, Some(Crossed::Reached))
        } else if used < limit && used >= near_to(limit) && self.near < Some(limit) {
            (Self { near, ..self }, Some(Crossed::Near))
        } else {
            (self, None)
        }
    }
}

/// From where on a limit is near: four fifths.
fn near_to(limit: i64) -> i64 {
    limit - limit / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_told_of_once() {
        let mut told = Told::default();
        let mut tell = |used, limit| {
            let (after, crossed) = told.after(used, limit);
            told = after;
            crossed
        };
        assert_eq!(tell(79, 100), None);
        assert_eq!(tell(80, 100), Some(Crossed::Near));
        assert_eq!(tell(99, 100), None);
        assert_eq!(tell(100, 100), Some(Crossed::Reached));
        assert_eq!(tell(500, 100), None);
        // A larger one begins anew, and both at once are told as one.
        assert_eq!(tell(500, 600), Some(Crossed::Near));
        assert_eq!(tell(500, 100), None);
        assert_eq!(tell(700, 600), Some(Crossed::Reached));
        assert_eq!(tell(700, 700), Some(Crossed::Reached));
        assert_eq!(tell(700, 600), None);
    }

    #[test]
    fn small_limits_are_near_before_they_are_reached_where_they_can_be() {
        for (limit, near) in [(0, 0), (1, 1), (4, 4), (5, 4), (10, 8), (11, 9)] {
            assert_eq!(near_to(limit), near, "{limit}");
        }
    }
}
