//! PDFs made by hand, good and bad.

use std::fmt::Write as _;

/// What a page shows.
#[derive(Debug, Clone)]
pub enum Page {
    /// Lines of Latin text, in a font that every reader has.
    Text(String),
    /// A JPEG over the whole page: a scan. Its width and height in pixels.
    Scan(Vec<u8>, u32, u32),
    /// Grey pixels over the whole page, row by row. Width and height.
    Grey(Vec<u8>, u32, u32),
    /// Nothing, on paper of so many points.
    Empty(f64, f64),
}

/// A page that is a JPEG.
pub fn scan(jpeg: Vec<u8>) -> Page {
    let picture = image::load_from_memory(&jpeg).expect("a JPEG");
    Page::Scan(jpeg, picture.width(), picture.height())
}

/// A page that is a picture of another format.
pub fn grey(picture: &[u8]) -> Page {
    let picture = image::load_from_memory(picture)
        .expect("a picture")
        .into_luma8();
    let (width, height) = picture.dimensions();
    Page::Grey(picture.into_raw(), width, height)
}

/// A PDF of these pages (ISO 32000-1, 7.5).
pub fn pdf(pages: &[Page]) -> Vec<u8> {
    pdf_with(pages, pages.len(), "")
}

/// A PDF whose catalogue claims a number of pages, and has further entries.
pub fn pdf_with(pages: &[Page], count: usize, entries: &str) -> Vec<u8> {
    let mut file = File::default();
    let kids = (0..pages.len()).fold(String::new(), |mut kids, page| {
        let _ = write!(kids, "{} 0 R ", 4 + 3 * page);
        kids
    });
    file.object(format!("<< /Type /Catalog /Pages 2 0 R {entries} >>").as_bytes());
    file.object(format!("<< /Type /Pages /Count {count} /Kids [{kids}] >>").as_bytes());
    file.object(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>");
    for (index, page) in pages.iter().enumerate() {
        let (content, image) = (5 + 3 * index, 6 + 3 * index);
        let (width, height) = match page {
            Page::Empty(width, height) => (*width, *height),
            // As wide as A4, and as high as the picture.
            Page::Scan(_, width, height) | Page::Grey(_, width, height) => {
                (595.0, 595.0 * f64::from(*height) / f64::from(*width))
            }
            Page::Text(_) => (595.0, 842.0),
        };
        let whole = format!("q {width} 0 0 {height} 0 0 cm /I Do Q");
        file.object(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents {content} 0 R \
                 /Resources << /Font << /F 3 0 R >> /XObject << /I {image} 0 R >> >> >>"
            )
            .as_bytes(),
        );
        let picture = |width: &u32, height: &u32, filter: &str| {
            format!(
                "/Type /XObject /Subtype /Image /Width {width} /Height {height} /BitsPerComponent 8 {filter}"
            )
        };
        match page {
            Page::Text(text) => {
                let mut content = "BT /F 12 Tf 14 TL 60 780 Td".to_owned();
                for line in text.lines() {
                    let line = line
                        .replace('\\', "\\\\")
                        .replace('(', "\\(")
                        .replace(')', "\\)");
                    let _ = write!(content, " ({line}) Tj T*");
                }
                file.stream("", format!("{content} ET").as_bytes());
                file.object(b"null");
            }
            Page::Scan(jpeg, width, height) => {
                file.stream("", whole.as_bytes());
                let entries = picture(width, height, "/ColorSpace /DeviceGray /Filter /DCTDecode");
                file.stream(&entries, jpeg);
            }
            Page::Grey(pixels, width, height) => {
                file.stream("", whole.as_bytes());
                file.stream(&picture(width, height, "/ColorSpace /DeviceGray"), pixels);
            }
            Page::Empty(..) => {
                file.stream("", b"");
                file.object(b"null");
            }
        }
    }
    file.finish()
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl File {
    fn object(&mut self, content: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes
                .extend_from_slice(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
        }
        self.offsets.push(self.bytes.len());
        let head = format!("{} 0 obj\n", self.offsets.len());
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(b"\nendobj\n");
    }

    fn stream(&mut self, entries: &str, content: &[u8]) {
        let head = format!("<< {entries} /Length {} >>\nstream\n", content.len());
        self.object(&[head.as_bytes(), content, b"\nendstream"].concat());
    }

    fn finish(mut self) -> Vec<u8> {
        let (start, size) = (self.bytes.len(), self.offsets.len() + 1);
        let mut table = format!("xref\n0 {size}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            let _ = writeln!(table, "{offset:010} 00000 n ");
        }
        let _ = write!(
            table,
            "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
        );
        self.bytes.extend_from_slice(table.as_bytes());
        self.bytes
    }
}
