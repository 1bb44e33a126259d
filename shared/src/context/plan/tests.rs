use super::*;

pub(super) fn plain(tokens: u32) -> Said {
    Said {
        tokens,
        ..Said::default()
    }
}

fn question(tokens: u32) -> Said {
    Said {
        is_question: true,
        ..plain(tokens)
    }
}

pub(super) fn limits(tokens: u32, messages: u32, recent: u32) -> Limits {
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
pub(super) fn places(plan: &Plan) -> (Vec<usize>, Vec<usize>) {
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
    let earlier = [plain(50), result, result, call, question(20)];
    let mut asked = asked(limits(300, 50, 20), &earlier);
    assert_eq!(places(&plan(&asked)), ((0..5).collect(), vec![]));
    // One result is cut to what is left.
    asked.limits.tokens = 260;
    assert_eq!(places(&plan(&asked)), (vec![0, 1, 3, 4], vec![2]));
    asked.limits.tokens = 150;
    assert_eq!(places(&plan(&asked)), (vec![0], vec![]));
    // A call is not cut, however long it is.
    let long = Said {
        tokens: 500,
        ..call
    };
    let earlier = [plain(50), result, result, long, question(20)];
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

#[test]
fn a_call_is_not_sent_without_what_it_follows() {
    let result = Said {
        tokens: 100,
        is_result: true,
        ..Said::default()
    };
    let call = Said {
        tokens: 20,
        calls: 1,
        ..Said::default()
    };
    // Two calls, one after the other.
    let earlier = [plain(50), result, call, result, call, question(40)];
    let mut asked = asked(limits(340, 50, 20), &earlier);
    assert_eq!(places(&plan(&asked)), ((0..6).collect(), vec![]));
    // For both there is room, but not for the question as well: the older one goes, and then the newer.
    asked.limits.tokens = 300;
    assert_eq!(places(&plan(&asked)), (vec![0, 1, 2, 5], vec![]));
    asked.limits = limits(1_000, 6, 20);
    let sent = plan(&asked);
    assert_eq!(places(&sent), (vec![0, 1, 2, 5], vec![]));
    assert_eq!((sent.tokens, sent.sent, sent.reached), (220, 4, 6));
    asked.limits = limits(200, 50, 20);
    assert_eq!(places(&plan(&asked)), (vec![0, 5], vec![]));
    // The question is not there any more, with others before and without.
    for earlier in [
        vec![plain(50), result, call, plain(30), question(40)],
        vec![plain(50), result, call],
    ] {
        let whole = self::asked(limits(1_000, 50, 20), &earlier);
        let (whole, _) = places(&plan(&whole));
        let is_of_tools = |place: &usize| earlier[*place].calls > 0 || earlier[*place].is_result;
        assert!(!whole.iter().any(is_of_tools), "{whole:?}");
        assert_eq!(whole.len(), earlier.len() - 2);
    }
}
