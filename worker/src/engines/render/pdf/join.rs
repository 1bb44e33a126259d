//! Joins the parts of a PDF: their pages in one tree, their outlines in one, and its number laid over each page.
//!
//! Catalogue and metadata are those of the first part, but for the number of pages, and the claim of PDF/A where a part does
//! not keep to it.

use std::{collections::BTreeMap, io::Write};

use lopdf::{Dictionary, Document, Object, ObjectId, Stream, dictionary};

use crate::engines::render::RenderError;

/// The name of what is laid over a page, among the page's resources; Typst's own names are short.
const OVERLAY: &str = "BaatCheetNumber";

/// The parts so far.
#[derive(Default)]
pub(super) struct Joined {
    document: Option<Document>,
    objects: BTreeMap<ObjectId, Object>,
    pages: Vec<ObjectId>,
    days: Vec<Day>,
    next: u32,
}

/// A day in the outline, with its messages.
struct Day {
    title: Object,
    item: ObjectId,
    messages: Vec<ObjectId>,
}

impl Joined {
    /// Adds a part at the end.
    pub(super) fn add(&mut self, pdf: &[u8]) -> Result<(), RenderError> {
        let mut part = Document::load_mem(pdf)?;
        part.renumber_objects_with(self.next.max(1));
        self.next = part.max_id + 1;
        self.add_outline(&part)?;
        self.pages.extend(part.get_pages().into_values());
        self.objects.append(&mut std::mem::take(&mut part.objects));
        if self.document.is_none() {
            self.document = Some(part);
        }
        Ok(())
    }

    /// Days that go on in the next part are one.
    fn add_outline(&mut self, part: &Document) -> Result<(), RenderError> {
        let Ok(root) = part
            .catalog()?
            .get(b"Outlines")
            .and_then(Object::as_reference)
        else {
            return Ok(());
        };
        for item in children(part, root)? {
            let title = part.get_dictionary(item)?.get(b"Title")?.clone();
            let messages = children(part, item)?;
            match self.days.last_mut() {
                Some(day) if day.title == title => day.messages.extend(messages),
                _ => self.days.push(Day {
                    title,
                    item,
                    messages,
                }),
            }
        }
        Ok(())
    }

    /// Lays the pages of a PDF over as many pages, from the one at `first` on.
    pub(super) fn lay_over(&mut self, first: usize, pdf: &[u8]) -> Result<(), RenderError> {
        let mut over = Document::load_mem(pdf)?;
        over.renumber_objects_with(self.next.max(1));
        self.next = over.max_id + 1;
        let mut forms = Vec::new();
        for page in over.get_pages().into_values() {
            forms.push(form(&over, page)?);
        }
        self.objects.append(&mut std::mem::take(&mut over.objects));
        // What a page leaves behind (its axes, for one) must not reach what is laid over it.
        let before = self.insert(Stream::new(Dictionary::new(), b"q\n".to_vec()));
        let after = format!("\nQ\nq /{OVERLAY} Do Q\n");
        let after = self.insert(Stream::new(Dictionary::new(), after.into_bytes()));
        for (index, form) in forms.into_iter().enumerate() {
            let form = self.insert(form);
            if let Some(&page) = self.pages.get(first + index) {
                self.lay_over_page(page, form, before, after)?;
            }
        }
        Ok(())
    }

    fn lay_over_page(
        &mut self,
        page: ObjectId,
        form: ObjectId,
        before: ObjectId,
        after: ObjectId,
    ) -> Result<(), RenderError> {
        let mut changed = self.dictionary(page)?.clone();
        let contents = match changed.get(b"Contents") {
            Ok(Object::Array(contents)) => contents.clone(),
            Ok(one) => vec![one.clone()],
            Err(_) => Vec::new(),
        };
        let whole = [vec![before.into()], contents, vec![after.into()]].concat();
        changed.set("Contents", whole);
        let mut resources = self.resolved(changed.get(b"Resources").ok())?;
        let mut forms = self.resolved(resources.get(b"XObject").ok())?;
        forms.set(OVERLAY, form);
        resources.set("XObject", forms);
        changed.set("Resources", resources);
        self.objects.insert(page, changed.into());
        Ok(())
    }

    /// Writes the document.
    pub(super) fn write(mut self, archival: bool, out: &mut impl Write) -> Result<(), RenderError> {
        let Some(mut document) = self.document.take() else {
            return Ok(());
        };
        let tree = self.new_id();
        let kids: Vec<Object> = self.pages.iter().map(|&page| page.into()).collect();
        let count = i64::try_from(kids.len()).unwrap_or(i64::MAX);
        for page in self.pages.clone() {
            let mut changed = self.dictionary(page)?.clone();
            changed.set("Parent", tree);
            self.objects.insert(page, changed.into());
        }
        let pages = dictionary! { "Type" => "Pages", "Count" => count, "Kids" => kids };
        self.objects.insert(tree, pages.into());
        let outline = self.outline()?;

        let root = document.trailer.get(b"Root")?.as_reference()?;
        let mut catalogue = self.dictionary(root)?.clone();
        catalogue.set("Pages", tree);
        match outline {
            Some(outline) => catalogue.set("Outlines", outline),
            None => {
                catalogue.remove(b"Outlines");
            }
        }
        self.describe(&catalogue, archival)?;
        self.objects.insert(root, catalogue.into());

        document.max_id = self.next.saturating_sub(1);
        document.objects = self.objects;
        // Trees and outlines of the parts, which nothing names any more.
        document.prune_objects();
        document.save_modern(out)?;
        Ok(())
    }

    /// Puts the outlines together; gives their root, if there are any.
    fn outline(&mut self) -> Result<Option<ObjectId>, RenderError> {
        let days = std::mem::take(&mut self.days);
        let items: Vec<ObjectId> = days.iter().map(|day| day.item).collect();
        let Some((&first, &last)) = items.first().zip(items.last()) else {
            return Ok(None);
        };
        let root = self.new_id();
        self.chain(root, &items)?;
        for day in days {
            self.chain(day.item, &day.messages)?;
            let mut changed = self.dictionary(day.item)?.clone();
            if let Some((&first, &last)) = day.messages.first().zip(day.messages.last()) {
                changed.set("First", first);
                changed.set("Last", last);
                // Closed: a negative count (ISO 32000-1, table 153).
                changed.set(
                    "Count",
                    -i64::try_from(day.messages.len()).unwrap_or(i64::MAX),
                );
            }
            self.objects.insert(day.item, changed.into());
        }
        let outlines = dictionary! {
            "Type" => "Outlines",
            "First" => first,
            "Last" => last,
            "Count" => i64::try_from(items.len()).unwrap_or(i64::MAX),
        };
        self.objects.insert(root, outlines.into());
        Ok(Some(root))
    }

    /// Makes items of an outline follow each other under a parent.
    fn chain(&mut self, parent: ObjectId, items: &[ObjectId]) -> Result<(), RenderError> {
        for (index, &item) in items.iter().enumerate() {
            let mut changed = self.dictionary(item)?.clone();
            changed.set("Parent", parent);
            let before = index.checked_sub(1).and_then(|before| items.get(before));
            for (key, other) in [("Prev", before), ("Next", items.get(index + 1))] {
                match other {
                    Some(&other) => changed.set(key, other),
                    None => {
                        changed.remove(key.as_bytes());
                    }
                }
            }
            self.objects.insert(item, changed.into());
        }
        Ok(())
    }

    /// Lets the metadata tell of all pages, and claim PDF/A only where every part keeps to it.
    fn describe(&mut self, catalogue: &Dictionary, archival: bool) -> Result<(), RenderError> {
        let Ok(id) = catalogue.get(b"Metadata").and_then(Object::as_reference) else {
            return Ok(());
        };
        let pages = self.pages.len().to_string();
        let Some(Object::Stream(stream)) = self.objects.get_mut(&id) else {
            return Ok(());
        };
        let mut metadata = String::from_utf8_lossy(&stream.get_plain_content()?).into_owned();
        replace(&mut metadata, "xmpTPg:NPages", Some(&pages));
        if !archival {
            replace(&mut metadata, "pdfaid:part", None);
            replace(&mut metadata, "pdfaid:conformance", None);
        }
        stream.set_plain_content(metadata.into_bytes());
        Ok(())
    }

    fn new_id(&mut self) -> ObjectId {
        self.next = self.next.max(1) + 1;
        (self.next - 1, 0)
    }

    fn insert(&mut self, stream: Stream) -> ObjectId {
        let id = self.new_id();
        self.objects.insert(id, stream.into());
        id
    }

    fn dictionary(&self, id: ObjectId) -> Result<&Dictionary, RenderError> {
        let object = self
            .objects
            .get(&id)
            .ok_or(lopdf::Error::ObjectNotFound(id))?;
        Ok(object.as_dict()?)
    }

    /// A dictionary that may be named or there itself, or not at all.
    fn resolved(&self, object: Option<&Object>) -> Result<Dictionary, RenderError> {
        match object {
            Some(Object::Reference(id)) => Ok(self.dictionary(*id)?.clone()),
            Some(object) => Ok(object.as_dict()?.clone()),
            None => Ok(Dictionary::new()),
        }
    }
}

/// A page, as something that is laid over another one.
fn form(over: &Document, page: ObjectId) -> Result<Stream, RenderError> {
    let content = over.get_page_content(page);
    let page = over.get_dictionary(page)?;
    let mut form = dictionary! {
        "Type" => "XObject",
        "Subtype" => "Form",
        "BBox" => page.get(b"MediaBox")?.clone(),
        "Resources" => page.get(b"Resources")?.clone(),
    };
    if let Ok(group) = page.get(b"Group") {
        form.set("Group", group.clone());
    }
    let mut form = Stream::new(form, content);
    form.compress()?;
    Ok(form)
}

/// Gives an element another value, or takes it out.
fn replace(metadata: &mut String, name: &str, value: Option<&str>) {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    if let (Some(start), Some(end)) = (metadata.find(&open), metadata.find(&close)) {
        let element = value.map(|value| format!("{open}{value}{close}"));
        metadata.replace_range(start..end + close.len(), &element.unwrap_or_default());
    }
}

/// The items under a node of an outline, in order.
fn children(part: &Document, node: ObjectId) -> Result<Vec<ObjectId>, RenderError> {
    let mut items = Vec::new();
    let mut next = part
        .get_dictionary(node)?
        .get(b"First")
        .and_then(Object::as_reference);
    while let Ok(item) = next {
        items.push(item);
        next = part
            .get_dictionary(item)?
            .get(b"Next")
            .and_then(Object::as_reference);
    }
    Ok(items)
}
