//! What is decided between the programs, which are played by scripts here; with the real ones documents are read in the
//! tests of the whole house.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Mutex};

use futures::FutureExt as _;

use super::*;
use crate::engines::process::Isolation;

const LINE: &str = "The library opens on Saturday at nine.";

/// Programs that know one document of three pages.
struct Programs(tempfile::TempDir);

impl Programs {
    /// `own` is what the PDF brings along.
    fn new(own: &str) -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        fs::write(programs.0.path().join("own"), own).unwrap();
        programs.script(
            "pdfinfo",
            "echo 'Pages: 3'; for page in 1 2 3; do echo \"Page    $page size:  100 x 100 pts\"; done",
        );
        programs.script("pdftotext", "cat \"${0%/*}/own\"");
        programs.script("pdftoppm", "draw \"$@\"");
        programs.script(
            "tesseract",
            "case $1 in --list-langs) printf 'List:\\neng\\nurd\\n' ;; *)
             for word in These words were seen on a scan; do printf '5\\t1\\t1\\t1\\t1\\t1\\t1\\t1\\t1\\t1\\t90\\t%s\\n' $word; done ;; esac",
        );
        programs
    }

    /// Replaces a program. `draw "$@"` draws a page, whose number is `$7`.
    fn script(&self, name: &str, body: &str) {
        let draw =
            "draw() { { printf 'P5\\n16 16\\n255\\n'; head -c 256 /dev/zero; } >\"${11}.pgm\"; }";
        let file = self.0.path().join(name);
        fs::write(
            &file,
            format!("#!/bin/sh\n[ \"$1\" = -v ] && exit\n{draw}\n{body}\n"),
        )
        .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn read(&self, limits: Limits) -> Result<Document, DocumentError> {
        self.read_with(Some(&self.tesseract().await), limits).await
    }

    async fn tesseract(&self) -> Tesseract {
        Tesseract::discover(&self.0.path().join("tesseract"), Isolation::None)
            .await
            .unwrap()
    }

    async fn read_with(
        &self,
        tesseract: Option<&Tesseract>,
        limits: Limits,
    ) -> Result<Document, DocumentError> {
        self.read_as(tesseract, limits, Hints::default()).await
    }

    async fn read_as(
        &self,
        tesseract: Option<&Tesseract>,
        limits: Limits,
        hints: Hints,
    ) -> Result<Document, DocumentError> {
        let poppler = Poppler::discover(Some(self.0.path()), Isolation::None)
            .await
            .unwrap();
        let reader = Reader {
            poppler: &poppler,
            tesseract,
            limits,
        };
        let heard = Mutex::new(Vec::new());
        let progress = |page, pages| {
            heard.lock().unwrap().push((page, pages));
            async {}.boxed()
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("document.pdf");
        let read = reader.read(&file, folder.path(), hints, &progress).await;
        let heard = heard.lock().unwrap().clone();
        if let Ok(document) = &read {
            let last = document.page_count.min(limits.pages);
            assert_eq!(heard[0], (1, last));
            assert!(
                heard.is_sorted() && heard.len() >= document.pages.len(),
                "{heard:?}"
            );
        }
        read
    }
}

fn methods(document: &Document) -> Vec<Method> {
    document.pages.iter().map(|page| page.method).collect()
}

fn errors(document: &Document) -> Vec<Option<PageError>> {
    let errors = document.pages.iter().map(|page| page.error.clone());
    errors.collect()
}

#[tokio::test]
async fn only_pages_without_text_are_recognized() {
    let own = format!("{LINE}\n\u{c}Page 2\n\u{c}\u{f041}\u{f042} scanned {LINE}\u{f043}\n\u{c}");
    let programs = Programs::new(&own);
    let document = programs.read(LIMITS).await.unwrap();
    let scan = "These words were seen on a scan";
    assert_eq!(
        document.text,
        format!("{LINE}\n\u{c}{scan}\n\u{c}\u{f041}\u{f042} scanned {LINE}\u{f043}")
    );
    assert_eq!(
        methods(&document),
        [Method::Text, Method::Ocr, Method::Text]
    );
    assert_eq!(document.pages[0].confidence, None);
    assert_eq!(document.pages[1].confidence, Some(90.0));
    assert_eq!(document.tally.confidence(), Some(90.0));
    assert_eq!(document.language.unwrap().as_str(), "eng");
    assert_eq!((document.page_count, document.truncated), (3, false));
}

#[tokio::test]
async fn a_pages_own_text_stays_where_its_picture_says_no_more() {
    // Each is too short to be trusted unseen; the scan has 25 letters.
    let programs = Programs::new(&format!(
        "Fourteen letters\u{c}Ten letter\u{c}{}",
        "\u{fffd}x".repeat(30)
    ));
    let document = programs.read(LIMITS).await.unwrap();
    assert_eq!(methods(&document), [Method::Text, Method::Ocr, Method::Ocr]);
}

#[tokio::test]
async fn a_page_that_takes_too_long_is_left_out() {
    let programs = Programs::new("");
    programs.script("pdftoppm", "[ \"$7\" = 2 ] && sleep 60; draw \"$@\"");
    let limits = Limits {
        page: Duration::from_secs(2),
        ..LIMITS
    };
    let document = programs.read(limits).await.unwrap();
    assert_eq!(errors(&document), [None, Some(PageError::TooSlow), None]);
    assert!(!document.truncated);
    assert_eq!(document.text.matches("These").count(), 2);
    assert_eq!(document.text.matches('\u{c}').count(), 2);
}

#[tokio::test]
async fn what_is_not_read_in_time_is_left_out() {
    let programs = Programs::new(LINE);
    programs.script("pdftoppm", "sleep 60");
    let limits = Limits {
        whole: Duration::from_secs(3),
        page: Duration::from_mins(1),
        ..LIMITS
    };
    let document = programs.read(limits).await.unwrap();
    assert_eq!(errors(&document), [None, Some(PageError::TooSlow)]);
    assert_eq!((document.page_count, document.truncated), (3, true));
    assert!(document.text.starts_with(LINE));
}

#[tokio::test]
async fn a_document_of_which_no_page_can_be_read_is_an_error() {
    let programs = Programs::new("");
    programs.script("pdftoppm", "echo 'bad page' >&2; exit 1");
    let error = programs.read(LIMITS).await.unwrap_err();
    assert!(matches!(error, DocumentError::Unreadable(_)), "{error}");
    programs.script("pdftoppm", "echo /etc/passwd >\"${11}.pgm\"");
    let error = programs.read(LIMITS).await.unwrap_err();
    assert!(
        matches!(error, DocumentError::Unreadable(PageError::NotDrawn)),
        "{error}"
    );
}

#[tokio::test]
async fn further_pages_and_further_text_are_cut() {
    let programs = Programs::new(&format!("{LINE}\u{c}").repeat(3));
    let limits = Limits { pages: 2, ..LIMITS };
    let document = programs.read(limits).await.unwrap();
    assert_eq!(
        (
            document.pages.len(),
            document.page_count,
            document.truncated
        ),
        (2, 3, true)
    );

    let limits = Limits {
        text_bytes: LINE.len() + 10,
        ..LIMITS
    };
    let document = programs.read(limits).await.unwrap();
    assert_eq!(document.text, format!("{LINE}\n\u{c}The libr"));
    assert_eq!((document.pages.len(), document.truncated), (2, true));
}

#[tokio::test]
async fn text_without_end_is_cut_too() {
    let programs = Programs::new("");
    programs.script("pdftotext", "yes 'The library opens on Saturday at nine.'");
    let document = programs.read(LIMITS).await.unwrap();
    assert_eq!((document.pages.len(), document.truncated), (1, true));
    assert!(document.text.len() > LIMITS.text_bytes - 100);
}

#[tokio::test]
async fn text_that_cannot_be_taken_out_is_recognized() {
    let programs = Programs::new("");
    programs.script("pdftotext", "exit 99");
    let document = programs.read(LIMITS).await.unwrap();
    assert_eq!(methods(&document), [Method::Ocr; 3]);
}

#[tokio::test]
async fn without_recognition_only_text_is_read() {
    let programs = Programs::new(&format!("{LINE}\u{c}").repeat(3));
    let document = programs.read_with(None, LIMITS).await.unwrap();
    assert_eq!(methods(&document), [Method::Text; 3]);
    assert_eq!(document.tally.confidence(), None);
    let programs = Programs::new("A stamp");
    let error = programs.read_with(None, LIMITS).await.unwrap_err();
    assert!(matches!(error, DocumentError::NoRecognition), "{error}");
}

#[tokio::test]
async fn a_blank_page_costs_nothing_but_itself() {
    let programs = Programs::new(&format!("{LINE}\u{c}\u{c}{LINE}"));
    let document = programs.read_with(None, LIMITS).await.unwrap();
    let error = Some(PageError::NoRecognition);
    assert_eq!(errors(&document), [None, error.clone(), None]);
    assert_eq!(document.text, format!("{LINE}\n\u{c}\n\u{c}{LINE}"));
    let shown = serde_json::to_value(&document.pages[1]).unwrap();
    assert_eq!(
        shown["error"],
        "needs text recognition, which is not installed on this worker"
    );

    let hints = || Hints {
        asked: vec!["hin".parse().unwrap()],
        ..Hints::default()
    };
    let tesseract = programs.tesseract().await;
    let read = programs.read_as(Some(&tesseract), LIMITS, hints()).await;
    let document = read.unwrap();
    let Some(PageError::NotInstalled(message)) = &document.pages[1].error else {
        panic!("{:?}", document.pages)
    };
    assert!(
        message.contains("hi is not installed; there are en, ur"),
        "{message}"
    );
    assert!(document.text.contains(LINE));
    let programs = Programs::new("");
    let error = programs.read_as(Some(&tesseract), LIMITS, hints()).await;
    let error = error.unwrap_err();
    assert!(matches!(&error, DocumentError::NotInstalled(of) if of == message));
}

#[tokio::test]
async fn a_document_whose_pages_all_take_too_long_may_be_read_another_time() {
    let programs = Programs::new("");
    programs.script("pdftoppm", "sleep 60");
    let limits = Limits {
        page: Duration::from_secs(2),
        ..LIMITS
    };
    let error = programs.read(limits).await.unwrap_err();
    assert!(matches!(error, DocumentError::TooSlow), "{error}");
    programs.script("pdftoppm", "[ \"$7\" = 1 ] && sleep 60; exit 1");
    let error = programs.read(limits).await.unwrap_err();
    assert!(
        matches!(error, DocumentError::Unreadable(PageError::TooSlow)),
        "{error}"
    );
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let programs = Programs::new("");
    for (script, expected) in [
        (
            "echo 'Command Line Error: Incorrect password' >&2; exit 1",
            "locked",
        ),
        ("echo 'Syntax Error: no xref' >&2; exit 1", "damaged"),
        ("kill -SEGV $$", "damaged"),
        ("yes", "damaged"),
        (
            "echo 'Command Line Error: Wrong page range given: the first page (1) can not be after the last page (0).' >&2; exit 99",
            "no pages",
        ),
        ("echo 'Pages: 0'", "no pages"),
        ("echo 'Title: x'", "no pages"),
    ] {
        programs.script("pdfinfo", script);
        let error = programs.read(LIMITS).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{script}: {error}");
    }
    let nowhere = Poppler::discover(Some(Path::new("/nowhere")), Isolation::None).await;
    assert!(matches!(nowhere, Err(ProcessError::Missing { .. })));
}
