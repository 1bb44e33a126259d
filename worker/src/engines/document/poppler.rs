//! Poppler's programs: what a PDF is, the text that it brings along, and its pages as pictures.
//!
//! They read the upload itself, as nothing of ours could: in an empty folder, with limits, and where the machine lets us
//! without a network. Scripts, forms and embedded files of a PDF mean nothing to them.

use std::{
    env::temp_dir,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use super::super::process::{self, Isolation, Limits, Output, ProcessError};

/// What one call may use. A dense page of A4 needs 20 MB to be drawn and 4 MB as a file; the largest that is drawn, 25 MB.
const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_mins(1),
    file_bytes: 64 << 20,
    timeout: Duration::from_secs(30),
    isolation: Isolation::None,
};

/// Longest time for the text of a whole document; 200 dense pages take 0.3 s.
const TEXT_TIMEOUT: Duration = Duration::from_mins(1);

/// Resolution of a page's picture, in pixels per inch: below it small print suffers, above it only the time grows.
const RESOLUTION: f64 = 200.0;

/// Most pixels of a page's picture: A2 at the full resolution. Larger pages are drawn coarser.
const MAX_PIXELS: f64 = 25_000_000.0;

/// Longest side of a page's picture, in pixels.
const MAX_SIDE: f64 = 20_000.0;

/// Points per inch (ISO 32000-1, 8.3.2.3).
const POINTS: f64 = 72.0;

/// The programs, as installed on this machine.
#[derive(Debug, Clone)]
pub struct Poppler {
    folder: Option<PathBuf>,
    isolation: Isolation,
}

/// What a PDF says about itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Info {
    /// As its catalogue claims.
    pub(super) pages: u32,
    /// Width and height in points of the pages that were asked for, as far as they are sound.
    sizes: Vec<Option<(f64, f64)>>,
}

/// Why a PDF was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// It needs a password.
    #[error("the PDF is locked with a password")]
    Encrypted,
    /// It is no PDF, or not a whole one.
    #[error("the PDF is damaged and cannot be opened")]
    Damaged(#[source] ProcessError),
    /// It may work another time.
    #[error(transparent)]
    Process(ProcessError),
}

impl Poppler {
    /// Looks for the programs, in a folder or where programs are; once, at start.
    ///
    /// # Errors
    /// When one is missing or does not work.
    pub async fn discover(
        folder: Option<&Path>,
        isolation: Isolation,
    ) -> Result<Self, ProcessError> {
        let poppler = Self {
            folder: folder.map(Path::to_owned),
            isolation,
        };
        for program in ["pdfinfo", "pdftotext", "pdftoppm"] {
            poppler
                .run(program, [OsStr::new("-v")], &temp_dir(), LIMITS.timeout)
                .await?;
        }
        Ok(poppler)
    }

    /// Opens a PDF, and measures its first pages.
    pub(super) async fn open(&self, file: &Path, pages: u32) -> Result<Info, OpenError> {
        let range = ["-f", "1", "-l", &pages.to_string()].map(OsString::from);
        let args = range
            .iter()
            .map(OsString::as_os_str)
            .chain([file.as_os_str()]);
        match self
            .run("pdfinfo", args, folder_of(file), LIMITS.timeout)
            .await
        {
            Ok(output) => Ok(Info::parse(&String::from_utf8_lossy(&output.stdout), pages)),
            Err(ProcessError::Failed { stderr, .. }) if stderr.contains("Incorrect password") => {
                Err(OpenError::Encrypted)
            }
            // The first page cannot be after the last one.
            Err(ProcessError::Failed { stderr, .. }) if stderr.contains("Wrong page range") => {
                Ok(Info::parse("", pages))
            }
            Err(error @ (ProcessError::Failed { .. } | ProcessError::TooMuchOutput { .. })) => {
                Err(OpenError::Damaged(error))
            }
            Err(error) => Err(OpenError::Process(error)),
        }
    }

    /// The text that the first pages bring along, laid out as on paper. Each page ends in a form feed.
    ///
    /// What is beyond 16 MiB is cut off.
    pub(super) async fn text(
        &self,
        file: &Path,
        pages: u32,
        limit: Duration,
    ) -> Result<Output, ProcessError> {
        let pages = pages.to_string();
        let args = [
            "-layout", "-enc", "UTF-8", "-eol", "unix", "-f", "1", "-l", &pages,
        ]
        .into_iter()
        .map(OsStr::new)
        .chain([file.as_os_str(), OsStr::new("-")]);
        let limits = self.limits(limit.min(TEXT_TIMEOUT));
        process::run_cut(
            &self.program("pdftotext"),
            args,
            &[],
            folder_of(file),
            &limits,
        )
        .await
    }

    /// Draws a page in grey, as it is shown, to a PGM file in `folder`.
    pub(super) async fn draw(
        &self,
        file: &Path,
        page: u32,
        info: &Info,
        folder: &Path,
        limit: Duration,
    ) -> Result<PathBuf, ProcessError> {
        let target = folder.join("page");
        let (page, resolution) = (page.to_string(), info.resolution(page).to_string());
        let args = [
            "-gray",
            "-cropbox",
            "-singlefile",
            "-r",
            &resolution,
            "-f",
            &page,
            "-l",
            &page,
        ]
        .into_iter()
        .map(OsStr::new)
        .chain([file.as_os_str(), target.as_os_str()]);
        self.run("pdftoppm", args, folder, limit).await?;
        Ok(target.with_extension("pgm"))
    }

    async fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
        within: &Path,
        limit: Duration,
    ) -> Result<Output, ProcessError> {
        let limits = self.limits(limit);
        process::run(&self.program(program), args, &[], within, &limits).await
    }

    fn program(&self, name: &str) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(name),
            None => name.into(),
        }
    }

    fn limits(&self, timeout: Duration) -> Limits {
        Limits {
            timeout,
            isolation: self.isolation,
            ..LIMITS
        }
    }
}

/// Where a document is; programs run in folders beside it.
fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

impl Info {
    /// Reads what `pdfinfo -f 1 -l …` prints. Titles and the like come before what counts here, and can hold any line:
    /// the last one of a kind is the program's own.
    fn parse(output: &str, asked: u32) -> Self {
        let mut info = Self {
            pages: 0,
            sizes: vec![None; asked as usize],
        };
        for line in output.lines() {
            if let Some(count) = line.strip_prefix("Pages:") {
                info.pages = count.trim().parse().unwrap_or(0);
            }
            if let Some((page, size)) = size(line)
                && let Some(slot) = info.sizes.get_mut(page)
            {
                *slot = Some(size);
            }
        }
        info
    }

    /// At which a page's picture stays within its limits.
    fn resolution(&self, page: u32) -> f64 {
        let size = self.sizes.get((page as usize).wrapping_sub(1));
        let Some((width, height)) = size.copied().flatten() else {
            return RESOLUTION;
        };
        let (width, height) = (width / POINTS, height / POINTS);
        let by_area = (MAX_PIXELS / (width * height)).sqrt();
        let by_side = MAX_SIDE / width.max(height);
        RESOLUTION.min(by_area).min(by_side)
    }
}

/// `Page    3 size:  595.28 x 841.89 pts (A4)`: the page, from 0, and its width and height.
fn size(line: &str) -> Option<(usize, (f64, f64))> {
    let (page, size) = line.strip_prefix("Page ")?.split_once("size:")?;
    let (width, rest) = size.split_once(" x ")?;
    let (height, _) = rest.split_once(" pts")?;
    let points = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|points: &f64| points.is_finite() && *points > 0.0)
    };
    let page = page.trim().parse::<usize>().ok()?.checked_sub(1)?;
    Some((page, (points(width)?, points(height)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_own_lines_count() {
        let output = "Title:           Pages: 9\nPages:           7\nJavaScript:      yes\nPages:           3\n\
                      Encrypted:       no\nPage    1 size:  595.28 x 841.89 pts (A4)\nPage    1 rot:   0\n\
                      Page    2 size:  1e+06 x 1e+06 pts\nPage    3 size:  -1 x nan pts\nPage    4 size:  1 x 1 pts\n\
                      Page    0 size:  1 x 1 pts\nFile size:       27240 bytes\n";
        let info = Info::parse(output, 3);
        assert_eq!(info.pages, 3);
        assert_eq!(info.sizes, [Some((595.28, 841.89)), Some((1e6, 1e6)), None]);
        assert_eq!(Info::parse("", 1).pages, 0);
    }

    #[test]
    fn large_pages_are_drawn_coarser() {
        let resolution = |width: f64, height: f64| {
            let info = Info {
                pages: 1,
                sizes: vec![Some((width, height))],
            };
            info.resolution(1)
        };
        let close = |left: f64, right: f64| (left - right).abs() < 0.1;
        assert!(close(resolution(595.28, 841.89), RESOLUTION));
        assert!(close(resolution(2384.0, 3370.0), 127.0)); // A0
        assert!(close(resolution(14_400.0, 14_400.0), 25.0));
        assert!(close(resolution(1e9, 1.0), 0.0));
        assert!(close(resolution(100_000.0, 10.0), 14.4));
        let unknown = Info {
            pages: 1,
            sizes: Vec::new(),
        };
        assert!(close(unknown.resolution(1), RESOLUTION));
    }
}
