use proptest::prelude::*;

use super::*;

fn plain(tokens: u32) -> Said {
    Said {
        tokens,
        ..Said::default()
    }
}

fn limits(tokens: u32, messages: u32, recent: u32) -> Limits {
    Limits {
        tokens,
        messages,
        recent,
    }
}

/// What goes along with a question of 10 tokens, all of which is known.
fn asked(limits: Limits, earlier: &[Said]) -> Asked<'_> {
    Asked {
        limits,
        system: None,
        question: Some(10),
        earlier,
        is_whole: true,
        summary: None,
    }
}

/// The places of what is sent whole, and of what is cut, newest first.
fn places(plan: &Plan) -> (Vec<usize>, Vec<usize>) {
    let mut earlier: Vec<(usize, Size)> = plan
        .pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Earlier(place, size) => Some((*place, *size)),
            _ => None,
        })
        .collect();
    earlier.reverse();
    let (whole, cut): (Vec<_>, Vec<_>) = earlier
        .into_iter()
        .partition(|(_, size)| *size == Size::Whole);
    let place = |(place, _): (usize, Size)| place;
    (
        whole.into_iter().map(place).collect(),
        cut.into_iter().map(place).collect(),
    )
}

#[test]
fn all_is_sent_where_there_is_room_and_then_no_summary() {
    let earlier = [plain(20); 30];
    let mut asked = asked(limits(1_000, 50, 20), &earlier);
    asked.system = Some(5);
    asked.summary = Some(Summary {
        tokens: 30,
        since: 15,
    });
    let sent = plan(&asked);
    assert_eq!(sent.pieces.len(), 32);
    assert_eq!(sent.pieces[0], Piece::System);
    assert_eq!(sent.pieces[1], Piece::Earlier(29, Size::Whole));
    assert_eq!(sent.pieces[31], Piece::Question);
    assert_eq!((sent.tokens, sent.sent, sent.reached), (615, 30, 30));
}

#[test]
fn the_newest_come_first_then_the_summary_then_older_ones() {
    let earlier = [plain(100); 60];
    let mut asked = asked(limits(3_000, 50, 20), &earlier);
    asked.summary = Some(Summary {
        tokens: 300,
        since: 25,
    });
    let sent = plan(&asked);
    // 10 for the question, 1,900 for the newest, 300 for the summary, and 7 older ones.
    assert_eq!(sent.sent, 26);
    assert_eq!(sent.pieces[0], Piece::Summary(Size::Whole));
    assert_eq!(sent.tokens, 2_910);
    // Only messages of the newest, and a summary that is cut to what is left.
    asked.limits.tokens = 2_000;
    let sent = plan(&asked);
    assert_eq!(sent.sent, 19);
    assert_eq!(sent.pieces[0], Piece::Summary(Size::Cut(90)));
    assert_eq!(sent.tokens, 2_000);
    // So many messages, and no more.
    asked.limits = limits(100_000, 50, 20);
    assert_eq!(plan(&asked).sent, 49);
    asked.limits = limits(100_000, 1, 20);
    assert_eq!(plan(&asked).sent, 0);
}

#[test]
fn where_room_is_short_the_last_ones_are_in_and_nothing_older() {
    let earlier = [plain(100); 30];
    let mut asked = asked(limits(1_010, 50, 20), &earlier);
    let sent = plan(&asked);
    assert_eq!(places(&sent), ((0..10).collect(), vec![]));
    assert_eq!(sent.reached, 10);
    // What does not fit is cut, if enough of it is left.
    asked.limits.tokens = 1_070;
    assert_eq!(places(&plan(&asked)), ((0..10).collect(), vec![10]));
    asked.limits.tokens = 1_059;
    assert_eq!(places(&plan(&asked)), ((0..10).collect(), vec![]));
    // Not if a summary tells of it.
    asked.limits.tokens = 1_070;
    asked.summary = Some(Summary {
        tokens: 55,
        since: 10,
    });
    let sent = plan(&asked);
    assert_eq!(places(&sent), ((0..10).collect(), vec![]));
    assert_eq!(sent.pieces[0], Piece::Summary(Size::Whole));
}

#[test]
fn a_message_that_is_too_long_is_cut_beside_a_summary() {
    let earlier = [plain(5_000), plain(20), plain(20)];
    let mut asked = asked(limits(1_010, 50, 20), &earlier[..1]);
    let sent = plan(&asked);
    assert_eq!(sent.pieces[0], Piece::Earlier(0, Size::Cut(1_000)));
    assert_eq!((sent.sent, sent.tokens), (1, 1_010));
    asked.earlier = &earlier;
    asked.summary = Some(Summary {
        tokens: 200,
        since: 1,
    });
    let sent = plan(&asked);
    let expected = [
        Piece::Summary(Size::Whole),
        Piece::Earlier(2, Size::Whole),
        Piece::Earlier(1, Size::Whole),
        Piece::Earlier(0, Size::Cut(760)),
        Piece::Question,
    ];
    assert_eq!(sent.pieces, expected);
}

#[test]
fn a_message_that_is_too_long_leaves_room_for_the_others_of_the_last_ten() {
    let mut earlier = [plain(20); 15];
    earlier[0] = plain(5_000);
    let sent = plan(&asked(limits(1_010, 50, 20), &earlier));
    // The other eight, and all that is left of it; nothing older.
    assert_eq!(places(&sent), ((1..9).collect(), vec![0]));
    assert!(sent.pieces.contains(&Piece::Earlier(0, Size::Cut(840))));
    assert_eq!(sent.tokens, 1_010);
    // At most half of what is left, again and again.
    let earlier = [plain(5_000); 15];
    let sent = plan(&asked(limits(1_010, 50, 20), &earlier));
    assert_eq!(places(&sent), (vec![], vec![0, 1, 2, 3, 4]));
    for (place, tokens) in [500, 250, 125, 63, 50].into_iter().enumerate() {
        let piece = Piece::Earlier(place, Size::Cut(tokens));
        assert!(sent.pieces.contains(&piece), "{:?}", sent.pieces);
    }
    // Those that are not of the last ten wait for nothing.
    let mut earlier = [plain(20); 15];
    earlier[10] = plain(5_000);
    let sent = plan(&asked(limits(1_010, 50, 20), &earlier));
    assert_eq!(places(&sent), ((0..10).collect(), vec![10]));
}

#[test]
fn as_much_is_loaded_as_any_model_may_be_sent() {
    let least = crate::tokens::Learned::of(1, 1_000.0, 1.0, 1.0).unwrap();
    assert_eq!(1_000_000 / u64::from(least.factor_ppm), STORED_PER_TOKEN);
    let limits = limits(100, 20, 20);
    // 400 tokens are reached by the fourteenth.
    assert_eq!(limits.reach([30; 30]), 14);
    assert_eq!(limits.reach([1; 30]), 20);
    // The last ones in any case.
    assert_eq!(limits.reach([5_000; 30]), LAST);
    assert_eq!(limits.reach([5_000; 3]), 3);
}

#[test]
fn a_question_that_is_too_long_is_sent_whole_and_alone() {
    let earlier = [plain(20); 3];
    let mut asked = asked(limits(1_000, 50, 20), &earlier);
    asked.question = Some(5_000);
    asked.system = Some(100);
    let sent = plan(&asked);
    assert_eq!(sent.pieces, [Piece::System, Piece::Question]);
    assert!(sent.is_exceeded);
    assert_eq!((sent.tokens, sent.sent), (5_100, 0));
}

#[test]
fn a_call_and_its_results_are_not_parted() {
    let result = Said {
        tokens: 100,
        is_result: true,
        ..Said::default()
    };
    let call = Said {
        tokens: 20,
        calls: 2,
        ..Said::default()
    };
    let earlier = [plain(50), result, result, call, plain(50)];
    let mut asked = asked(limits(280, 50, 20), &earlier);
    assert_eq!(places(&plan(&asked)), (vec![0, 1, 2, 3], vec![]));
    // One result is cut to what is left.
    asked.limits.tokens = 250;
    assert_eq!(places(&plan(&asked)), (vec![0, 1, 3], vec![2]));
    asked.limits.tokens = 150;
    assert_eq!(places(&plan(&asked)), (vec![0], vec![]));
    // A call is not cut, however long it is.
    let long = Said {
        tokens: 500,
        ..call
    };
    let earlier = [plain(50), result, result, long, plain(50)];
    let asked_long = self::asked(limits(600, 50, 20), &earlier);
    assert_eq!(places(&plan(&asked_long)), (vec![0], vec![]));
    // No more than three messages.
    asked.limits = limits(1_000, 4, 20);
    assert_eq!(places(&plan(&asked)), (vec![0], vec![]));
    // A call whose result is missing, and a result whose call is.
    for broken in [
        [plain(50), result, call, plain(50)],
        [plain(50), plain(50), result, result],
    ] {
        let asked = self::asked(limits(1_000, 50, 20), &broken);
        let (whole, _) = places(&plan(&asked));
        assert!(
            whole.iter().all(|place| broken[*place] == plain(50)),
            "{whole:?}"
        );
        assert_eq!(whole.len(), 2);
    }
    // What was said before results without a call is sent.
    let earlier = [result, plain(50)];
    let asked = self::asked(limits(1_000, 50, 20), &earlier);
    let whole = Piece::Earlier(1, Size::Whole);
    assert_eq!(plan(&asked).pieces, [whole, Piece::Question]);
}

prop_compose! {
    /// A call, and results of it, of which some may be missing or too many, newest first.
    fn called()(call in 0u32..400, calls in 0u32..4, results in prop::collection::vec(0u32..2_000, 0..4)) -> Vec<Said> {
        let results = results.into_iter().map(|tokens| Said { tokens, calls: 0, is_result: true });
        results.chain([Said { tokens: call, calls, is_result: false }]).collect()
    }
}

fn history() -> impl Strategy<Value = Vec<Said>> {
    let one = (0u32..3_000).prop_map(|tokens| vec![plain(tokens)]);
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

        // Newer before older: what is sent has no gap, but for calls that are not whole. And no call is parted.
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
            is_over |= in_it == 0;
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
        let all_newest = sendable.iter().filter(is_newest).all(|group| {
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
