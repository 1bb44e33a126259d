//! Taking messages, one after the other, while there is room.

use super::{Group, LEAST_CUT, Said, Size, Summary};

/// What is in so far.
pub(super) struct Filling<'a> {
    pub(super) earlier: &'a [Said],
    /// Tokens that are left.
    pub(super) room: u32,
    /// Messages that are left.
    pub(super) places: usize,
    /// Newest first.
    pub(super) kept: Vec<(usize, Size)>,
    pub(super) reached: usize,
}

impl Filling<'_> {
    pub(super) fn has_room_for(&self, groups: &[Group]) -> bool {
        let sendable = groups.iter().filter(|group| group.is_sendable);
        let (tokens, messages) = sendable.fold((0, 0), |(tokens, messages), group| {
            (tokens + group.tokens, messages + group.places.len())
        });
        tokens <= u64::from(self.room) && messages <= self.places
    }

    /// Takes messages whole, if they fit.
    pub(super) fn take(&mut self, group: &Group) -> bool {
        let tokens = u32::try_from(group.tokens).ok();
        let left = tokens.and_then(|tokens| self.room.checked_sub(tokens));
        let (Some(room), Some(places)) = (left, self.places.checked_sub(group.places.len())) else {
            return false;
        };
        (self.room, self.places) = (room, places);
        let whole = group.places.clone().map(|place| (place, Size::Whole));
        self.kept.extend(whole);
        self.reached = group.places.end;
        true
    }

    /// Takes as much of messages as fits, and tells whether that is anything: the longest of them is cut, but no call, of which
    /// the beginning is none. `reserved` tokens stay, if enough is left of it.
    fn cut(&mut self, group: &Group, reserved: u32) -> bool {
        let places = self.places.checked_sub(group.places.len());
        let longest = group
            .places
            .clone()
            .filter(|place| self.earlier[*place].calls == 0)
            .max_by_key(|place| self.earlier[*place].tokens);
        let (Some(places), Some(longest)) = (places, longest) else {
            return false;
        };
        let others = group.tokens - u64::from(self.earlier[longest].tokens);
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let room = self.room.saturating_sub(others);
        if room < LEAST_CUT {
            return false;
        }
        let left = room.saturating_sub(reserved).max(LEAST_CUT);
        let cut = group.places.clone().map(|place| {
            let size = if place == longest {
                Size::Cut(left)
            } else {
                Size::Whole
            };
            (place, size)
        });
        self.kept.extend(cut);
        (self.room, self.places) = (room - left, places);
        self.reached = group.places.end;
        true
    }

    /// Takes what fits, and tells how much of the summary does.
    pub(super) fn fill(
        &mut self,
        groups: &[Group],
        recent: u32,
        summary: Option<Summary>,
    ) -> Option<Size> {
        // The question is the newest.
        let recent = (recent as usize).saturating_sub(1);
        let groups: Vec<&Group> = groups.iter().filter(|group| group.is_sendable).collect();
        let newest = groups.partition_point(|group| group.places.start < recent);
        let (newest, older) = groups.split_at(newest);
        let is_all = self.take_recent(newest, summary);
        let size = summary.and_then(|summary| {
            if let Some(room) = self.room.checked_sub(summary.tokens) {
                self.room = room;
                return Some(Size::Whole);
            }
            let cut = std::mem::take(&mut self.room);
            if cut < LEAST_CUT {
                self.room = cut;
                return None;
            }
            Some(Size::Cut(cut))
        });
        if is_all {
            for group in older {
                if !self.take(group) {
                    break;
                }
            }
        }
        size
    }

    /// Takes the newest messages, and tells whether all of them are in, whole.
    fn take_recent(&mut self, newest: &[&Group], summary: Option<Summary>) -> bool {
        let mut is_all = true;
        for (number, group) in newest.iter().enumerate() {
            // Once one is cut, only others of the last have room.
            if !is_all && !group.is_last() {
                break;
            }
            if self.take(group) {
                continue;
            }
            is_all = false;
            let is_told = summary.is_some_and(|summary| group.places.start >= summary.since);
            // Several in part are better than one.
            let waiting = newest[number + 1..]
                .iter()
                .take_while(|group| group.is_last());
            let waiting: u64 = waiting.map(|group| group.tokens).sum();
            let wanted = waiting + summary.map_or(0, |summary| u64::from(summary.tokens));
            let half = self.room / 2;
            let reserved = u32::try_from(wanted).map_or(half, |wanted| wanted.min(half));
            if is_told || !self.cut(group, reserved) {
                break;
            }
        }
        is_all
    }
}
