use proptest::prelude::*;

use super::{
    tests::{limits, places, plain},
    *,
};

fn is_call(earlier: &[Said], group: &Group) -> bool {
    earlier[group.places.end - 1].calls > 0
}

prop_compose! {
    /// A call, and results of it, of which some may be missing or too many, newest first.
    fn called()(call in 0u32..400, calls in 0u32..4, results in prop::collection::vec(0u32..2_000, 0..4)) -> Vec<Said> {
        let results = results.into_iter().map(|tokens| Said { tokens, is_result: true, ..Said::default() });
        results.chain([Said { tokens: call, calls, ..Said::default() }]).collect()
    }
}

fn history() -> impl Strategy<Value = Vec<Said>> {
    let one = (0u32..3_000, any::<bool>());
    let one = one.prop_map(|(tokens, is_question)| {
        vec![Said {
            is_question,
            ..plain(tokens)
        }]
    });
    let piece = prop_oneof![6 => one, 1 => called()];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_history_and_any_limit(
        earlier in history(),
        tokens in 0u32..20_000,
        messages in 0u32..80,
        recent in 0u32..30,
        system in prop::option::of(0u32..2_000),
        question in prop::option::of(0u32..9_000),
        is_whole: bool,
        summary in prop::option::of((0u32..1_500, 0usize..80)),
    ) {
        let asked = Asked {
            limits: limits(tokens, messages, recent),
            system,
            question,
            earlier: &earlier,
            is_whole,
            summary: summary.map(|(tokens, since)| Summary { tokens, since }),
        };
        let sent = plan(&asked);

        // Within the limit, unless that is not to be had; then nothing goes along.
        let needed = system.unwrap_or(0) + question.unwrap_or(0);
        prop_assert_eq!(sent.is_exceeded, needed > tokens);
        prop_assert!(sent.tokens <= tokens.max(needed));
        prop_assert!(sent.sent < messages.max(1) as usize);
        let sum: u32 = sent.pieces.iter().map(|piece| match piece {
            Piece::System => system.unwrap(),
            Piece::Question => question.unwrap(),
            Piece::Summary(Size::Whole) => asked.summary.unwrap().tokens,
            Piece::Earlier(place, Size::Whole) => earlier[*place].tokens,
            Piece::Summary(Size::Cut(tokens)) | Piece::Earlier(_, Size::Cut(tokens)) => *tokens,
        }).sum();
        prop_assert_eq!(sum, sent.tokens);

        // Instructions first, then the summary, then what was said in its order, and last the question.
        let rank = |piece: &Piece| match piece {
            Piece::System => 0,
            Piece::Summary(_) => 1,
            Piece::Earlier(place, _) => 2 + earlier.len() - place,
            Piece::Question => 3 + earlier.len(),
        };
        let ranks: Vec<usize> = sent.pieces.iter().map(rank).collect();
        prop_assert!(ranks.windows(2).all(|two| two[0] < two[1]), "{:?}", sent.pieces);
        prop_assert_eq!(sent.pieces.contains(&Piece::System), system.is_some());
        prop_assert_eq!(sent.pieces.contains(&Piece::Question), question.is_some());

        // A call follows a question, or what came of another one.
        let mut before = Said::default();
        for piece in &sent.pieces {
            let said = match piece {
                Piece::Earlier(place, _) => earlier[*place],
                Piece::System | Piece::Summary(_) | Piece::Question => Said::default(),
            };
            prop_assert!(said.calls == 0 || before.is_question || before.is_result, "{:?}", sent.pieces);
            before = said;
        }

        // Newer before older: what is sent has no gap, but for calls. And no call is parted.
        let (whole, cut) = places(&sent);
        let all: Vec<usize> = {
            let mut all = [whole.clone(), cut.clone()].concat();
            all.sort_unstable();
            all
        };
        let sendable: Vec<Group> = groups(&earlier).into_iter().filter(|group| group.is_sendable).collect();
        let (mut is_over, mut is_cut) = (false, false);
        for group in &sendable {
            let in_it = all.iter().filter(|place| group.places.contains(place)).count();
            prop_assert!(in_it == 0 || in_it == group.places.len(), "a call is parted");
            prop_assert!(in_it == 0 || !is_over, "an older one is sent and a newer one is not");
            prop_assert!(in_it == 0 || !is_cut || group.places.start < LAST, "one is cut for an older one");
            is_over |= in_it == 0 && !is_call(&earlier, group);
            let cuts = cut.iter().filter(|place| group.places.contains(place)).count();
            prop_assert!(cuts <= 1);
            is_cut |= cuts > 0;
        }
        let known: usize = sendable.iter().map(|group| group.places.len()).sum();
        prop_assert!(all.len() <= known, "a call that is not whole is sent");
        prop_assert_eq!(all.len(), sent.sent);

        // The newest before all else: nothing older is sent, and nothing is cut, unless all of them are in.
        let newest = (recent as usize).saturating_sub(1);
        let is_newest = |group: &&Group| group.places.start < newest;
        let all_newest = sendable.iter().filter(is_newest).filter(|group| !is_call(&earlier, group)).all(|group| {
            group.places.clone().all(|place| whole.contains(&place))
        });
        let has_older = sendable.iter().filter(|group| !is_newest(group)).any(|group| {
            group.places.clone().any(|place| all.contains(&place))
        });
        prop_assert!(all_newest || !has_older);
        for place in &cut {
            prop_assert!(sendable.iter().filter(is_newest).any(|group| group.places.contains(place)));
        }
    }
}
