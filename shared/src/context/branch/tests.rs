use super::*;
use crate::context::{Asked, Piece, Size, plan};

fn said(tokens: i32) -> Earlier {
    Earlier {
        id: MessageId::new(),
        role: Role::User,
        text: "words ".repeat(tokens.unsigned_abs() as usize),
        tokens,
        attachments: Vec::new(),
        frames: Some(Frames::default()),
        tools: Vec::new(),
    }
}

fn branch(tokens: &[i32]) -> (Branch, Vec<MessageId>) {
    let all: Vec<Earlier> = tokens.iter().map(|tokens| said(*tokens)).collect();
    let ids = all.iter().map(|one| one.id).collect();
    let branch = all.into_iter().fold(Branch::default(), Branch::with);
    (branch, ids)
}

#[test]
fn a_branch_grows_and_ends_before_any_of_its_messages() {
    let (mut branch, ids) = branch(&[1, 2, 3, 4]);
    assert_eq!((branch.total, branch.leaf), (4, Some(ids[3])));
    assert!(branch.is_whole());
    branch.summary = Some(Told {
        anchor: ids[1],
        since: 2,
        text: "numbers".to_owned(),
        tokens: 1,
    });
    assert_eq!(branch.clone().up_to(ids[3]), Some(branch.clone()));
    let shorter = branch.clone().up_to(ids[1]).unwrap();
    assert_eq!((shorter.total, shorter.earlier[0].id), (2, ids[1]));
    assert_eq!(shorter.summary.unwrap().since, 0);
    // The summary tells of more than that.
    assert_eq!(branch.clone().up_to(ids[0]), None);
    assert_eq!(branch.clone().up_to(MessageId::new()), None);
    // Nor where older ones are missing.
    branch.total = 5;
    assert_eq!(branch.clone().up_to(ids[2]), None);
    assert!(branch.clone().up_to(ids[3]).is_some());
    let empty = Earlier {
        text: String::new(),
        ..said(1)
    };
    let grown = branch.clone().with(empty.clone());
    assert_eq!((grown.total, grown.leaf), (5, Some(empty.id)));
    assert_eq!(branch.with(said(1)).summary.unwrap().since, 3);
}

#[test]
fn what_cannot_be_sent_any_more_is_left_out() {
    let limits = Limits {
        tokens: 100,
        messages: 3,
        recent: 2,
    };
    let (few, ids) = branch(&[10, 10, 10, 10]);
    let trimmed = few.trimmed(limits);
    assert_eq!((trimmed.earlier.len(), trimmed.total), (3, 4));
    assert_eq!(trimmed.earlier[2].id, ids[1]);
    assert!(!trimmed.is_whole());
    // Of one that is too long in any case, as much stays as may be sent; and all of it where a model may count less.
    let (long, _) = branch(&[10, 1_000, 390]);
    let trimmed = long.trimmed(limits);
    let lengths: Vec<usize> = trimmed.earlier.iter().map(|one| one.text.len()).collect();
    assert_eq!(lengths, [2_340, 3_200, 60]);
    let mut wide = said(390);
    wide.text = "words ".repeat(1_000);
    let trimmed = Branch::default().with(wide).trimmed(limits);
    assert_eq!(trimmed.earlier[0].text.len(), 6_000);
}

#[test]
fn frames_are_for_models_that_see_as_much() {
    let mut shown = said(10);
    assert!(shown.settled(true).is_some() && shown.settled(false).is_some());
    shown.frames = Some(Frames {
        is_blind: true,
        ..Frames::default()
    });
    assert!(shown.settled(true).is_none() && shown.settled(false).is_some());
    shown.frames = None;
    assert!(shown.settled(true).is_none() && shown.settled(false).is_none());
}

fn call(ids: &[&str], tokens: i32) -> OfTools {
    let calls = ids.iter().map(|id| Part::ToolCall {
        call_id: (*id).to_owned(),
        name: "weather".to_owned(),
        arguments: "{}".to_owned(),
    });
    OfTools {
        content: Content(calls.collect()),
        tokens,
    }
}

fn result(id: &str, tokens: i32) -> OfTools {
    let result = Part::ToolResult {
        call_id: id.to_owned(),
        name: "weather".to_owned(),
        status: "completed".to_owned(),
        output: "haze ".repeat(tokens.unsigned_abs() as usize),
    };
    OfTools {
        content: Content(vec![result]),
        tokens,
    }
}

/// A question, an answer for which two tools were called at once and then one, and something newer.
fn with_calls() -> Branch {
    let answer = Earlier {
        role: Role::Assistant,
        tools: vec![
            result("c", 30),
            call(&["c"], 5),
            result("b", 20),
            result("a", 10),
            call(&["a", "b"], 5),
        ],
        ..said(7)
    };
    let branch = Branch::default().with(said(3)).with(answer);
    branch.with(said(1))
}

#[test]
fn what_tools_said_goes_with_its_answer_only_where_there_are_tools() {
    let mut branch = with_calls();
    assert_eq!((branch.total, branch.earlier.len()), (3, 3));
    branch.summary = Some(Told {
        anchor: branch.earlier[2].id,
        since: 2,
        text: "numbers".to_owned(),
        tokens: 1,
    });
    let without = branch.places(false);
    let sizes = branch.sizes(&without, &[0, 100]);
    let tokens: Vec<u32> = sizes.iter().map(|said| said.tokens).collect();
    assert_eq!(tokens, [1, 107, 3]);
    assert!(sizes.iter().all(|said| said.calls == 0 && !said.is_result));
    assert_eq!(branch.summary_size(&without).unwrap().since, 2);

    let with = branch.places(true);
    let sizes = branch.sizes(&with, &[0, 100]);
    let told: Vec<(u32, u32, bool)> = sizes
        .iter()
        .map(|said| (said.tokens, said.calls, said.is_result))
        .collect();
    let expected = [
        (1, 0, false),
        (107, 0, false),
        (30, 0, true),
        (5, 1, false),
        (20, 0, true),
        (10, 0, true),
        (5, 2, false),
        (3, 0, false),
    ];
    assert_eq!(told, expected);
    assert_eq!((with[2].message, with[2].tool), (1, Some(0)));
    // The summary tells of the oldest message, before which all of the calls are.
    assert_eq!(branch.summary_size(&with).unwrap().since, 7);
    // They stay with their answer, also where the branch is shorter or longer.
    let answer = branch.earlier[1].id;
    let shorter = branch.clone().up_to(answer).unwrap();
    assert_eq!(shorter.places(true).len(), 7);
    assert_eq!(branch.with(said(2)).places(true).len(), 9);
}

#[test]
fn the_plan_sends_a_whole_exchange_or_nothing_of_it() {
    let branch = with_calls();
    let sent = |branch: &Branch, tokens: u32| -> Vec<(usize, Option<usize>)> {
        let places = branch.places(true);
        let plan = plan(&Asked {
            limits: Limits {
                tokens,
                messages: 50,
                recent: 20,
            },
            system: None,
            question: Some(10),
            earlier: &branch.sizes(&places, &[]),
            is_whole: branch.is_whole(),
            summary: None,
        });
        let mut sent: Vec<(usize, Option<usize>)> = plan
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Earlier(place, Size::Whole) => Some(places[*place]),
                _ => None,
            })
            .map(|at| (at.message, at.tool))
            .collect();
        sent.reverse();
        sent
    };
    assert_eq!(sent(&branch, 1_000).len(), 8);
    // The newer exchange has room beside its question, and the older one has not.
    let newer = [(0, None), (1, None), (1, Some(0)), (1, Some(1)), (2, None)];
    assert_eq!(sent(&branch, 70), newer);
    assert_eq!(sent(&branch, 50), newer[..2]);
    // Of one that is not whole nothing is sent.
    let mut broken = branch.clone();
    broken.earlier[1].tools.remove(2);
    assert_eq!(sent(&broken, 1_000).len(), 5);
    broken.earlier[1].tools.truncate(1);
    assert_eq!(sent(&broken, 1_000), [(0, None), (1, None), (2, None)]);
}

#[test]
fn what_tools_said_is_kept_as_far_as_it_may_be_sent() {
    let limits = |tokens, messages| Limits {
        tokens,
        messages,
        recent: 20,
    };
    let kept = |limits| {
        let trimmed = with_calls().trimmed(limits);
        let tools = trimmed.earlier.iter().map(|one| one.tools.len());
        (trimmed.earlier.len(), tools.sum::<usize>())
    };
    assert_eq!(kept(limits(1_000, 50)), (3, 5));
    // Without it all the rest goes along, and so the rest stays.
    assert_eq!(kept(limits(3, 50)), (3, 5));
    // Eight tokens are as many as may be sent, whatever model is asked.
    assert_eq!(kept(limits(2, 50)), (3, 0));
    assert_eq!(kept(limits(1_000, 2)), (2, 0));
    let longer = with_calls().with(Earlier {
        tools: vec![result("d", 500), call(&["d"], 5)],
        ..said(1)
    });
    let trimmed = longer.trimmed(limits(100, 50));
    let tools: Vec<usize> = trimmed.earlier.iter().map(|one| one.tools.len()).collect();
    assert_eq!(tools, [2, 0, 0, 0]);
}
