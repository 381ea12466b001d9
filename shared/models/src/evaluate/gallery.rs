//! The page of an evaluation's worst mistakes: one HTML file with the pictures in it, which loads nothing and runs
//! no script.

use std::fmt::{Display, Write};

use dataset::Thumbnail;

use super::classes::{ClassScores, percent, weakest};

/// Largest number of classes in the page's table.
const MOST_CLASSES: usize = 1000;
/// Number of pixels of a longer side below which enlarged pixels are shown as squares.
const TINY: u32 = 96;

/// What the page shows.
pub(super) struct Gallery<'a> {
    /// Lines on what was evaluated, and how well it was done.
    pub about: Vec<String>,
    /// Number of images whose most probable class is not theirs.
    pub mistakes: usize,
    /// The worst of them, the worst first.
    pub shown: Vec<Shown>,
    /// Pairs of a label and the one that its images were taken for, with their number, the most frequent first.
    pub pairs: Vec<(&'a str, &'a str, u32)>,
    pub classes: &'a [ClassScores],
}

/// A mistake that is shown.
pub(super) struct Shown {
    /// Name of the image.
    pub name: String,
    /// The most probable label.
    pub guess: String,
    /// The right label.
    pub label: String,
    /// Probability of the guess, and of the right label.
    pub probabilities: [f32; 2],
    /// The picture, or the reason why there is none.
    pub picture: Result<Thumbnail, String>,
}

impl Gallery<'_> {
    /// Returns the page as HTML.
    pub fn page(&self) -> String {
        let mut page = String::new();
        self.write(&mut page).expect("text takes what is written");
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        // What a browser is told to load: nothing but what stands in the page.
        let policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
        write!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" \
             content=\"{policy}\">\n<title>Mistakes of an evaluation</title>\n<style>\n{}</style>\n</head>\n<body>\n\
             <main>\n<h1>Mistakes of an evaluation</h1>\n",
            include_str!("gallery.css")
        )?;
        for line in &self.about {
            writeln!(page, "<p>{}</p>", Escaped(line))?;
        }
        self.write_pictures(page)?;
        self.write_pairs(page)?;
        self.write_classes(page)?;
        page.write_str("</main>\n</body>\n</html>\n")
    }

    fn write_pictures(&self, page: &mut String) -> std::fmt::Result {
        page.write_str("<h2>The worst mistakes</h2>\n")?;
        if self.shown.is_empty() {
            return page.write_str("<p>No image was taken for one of another class.</p>\n");
        }
        writeln!(
            page,
            "<p class=\"soft\">{} of {} mistakes, the surest first.</p>\n<ul class=\"gallery\">",
            self.shown.len(),
            self.mistakes
        )?;
        for shown in &self.shown {
            let [guess, label] = [&shown.guess, &shown.label].map(|label| Escaped(label));
            let [sure, left] = shown.probabilities.map(|probability| percent(Some(probability.into())));
            page.write_str("<li><figure>")?;
            match &shown.picture {
                Ok(Thumbnail { width, height, jpeg }) => {
                    let tiny = if *width.max(height) < TINY { " class=\"tiny\"" } else { "" };
                    write!(
                        page,
                        "<img{tiny} width=\"{width}\" height=\"{height}\" alt=\"a picture of class {label} \
                         that was taken for {guess}\" src=\"{}\">",
                        formats::data_address("image/jpeg", jpeg)
                    )?;
                }
                Err(reason) => write!(page, "<div class=\"gone\">not shown: {}</div>", Escaped(reason))?,
            }
            writeln!(
                page,
                "<figcaption><p class=\"wrong\">said <b><bdi>{guess}</bdi></b> <span>{sure}</span></p><p class=\"right\">right \
                 <b><bdi>{label}</bdi></b> <span>{left}</span></p><p class=\"soft\"><bdi>{}</bdi></p></figcaption></figure></li>",
                Escaped(&shown.name)
            )?;
        }
        page.write_str("</ul>\n")
    }

    fn write_pairs(&self, page: &mut String) -> std::fmt::Result {
        if self.pairs.is_empty() {
            return Ok(());
        }
        page.write_str(
            "<h2>Most frequent confusions</h2>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">right</th><th \
             scope=\"col\">said</th><th scope=\"col\" class=\"number\">images</th></tr></thead>\n<tbody>\n",
        )?;
        for (label, guess, images) in &self.pairs {
            writeln!(
                page,
                "<tr><td><bdi>{}</bdi></td><td><bdi>{}</bdi></td><td class=\"number\">{images}</td></tr>",
                Escaped(label),
                Escaped(guess)
            )?;
        }
        page.write_str("</tbody>\n</table></div>\n")
    }

    fn write_classes(&self, page: &mut String) -> std::fmt::Result {
        page.write_str("<h2>Classes</h2>\n<p class=\"soft\">The weakest first")?;
        if self.classes.len() > MOST_CLASSES {
            write!(page, ", {MOST_CLASSES} of {}; classes.csv has all", self.classes.len())?;
        }
        page.write_str(
            ". Recall: the share of a class's images that were found. Precision: the share of the images taken for the \
             class that are of it.</p>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">class</th>",
        )?;
        for column in ["images", "predicted", "recall", "precision"] {
            write!(page, "<th scope=\"col\" class=\"number\">{column}</th>")?;
        }
        page.write_str("</tr></thead>\n<tbody>\n")?;
        for class in weakest(self.classes).into_iter().take(MOST_CLASSES) {
            write!(page, "<tr><th scope=\"row\"><bdi>{}</bdi></th>", Escaped(&class.class))?;
            let shares = [class.recall, class.precision].map(percent);
            for cell in [class.images.to_string(), class.predicted.to_string()].iter().chain(&shares) {
                write!(page, "<td class=\"number\">{cell}</td>")?;
            }
            page.write_str("</tr>\n")?;
        }
        page.write_str("</tbody>\n</table></div>\n")
    }
}

/// A text from outside, such as a label or a file's name, as it may stand in HTML, also within quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                control if control.is_control() => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::classes::{Confusion, scores};
    use super::super::mistakes::pairs;
    use super::*;

    fn picture() -> Result<Thumbnail, String> {
        dataset::Dataset::synthetic(10, 10, 32)
            .thumbnail(dataset::Split::Validation, 0, 192)
            .map_err(|error| error.to_string())
    }

    /// A page of this many classes with long names, of which each was taken for the next once.
    fn page_of(classes: u32) -> String {
        let labels: Vec<String> =
            (0..classes).map(|class| format!("n{class:08} {}", "a name, and another; ".repeat(5))).collect();
        let mut confusion: Confusion = (0..classes).map(|class| ((class, class), 30)).collect();
        confusion.extend((1..classes).map(|class| ((class - 1, class), 1)));
        let classes = scores(&confusion, &labels);
        let shown = (0..60).map(|number| Shown {
            name: format!("val/{number}.jpg"),
            guess: labels[1].clone(),
            label: labels[0].clone(),
            probabilities: [0.987, 0.0004],
            picture: picture(),
        });
        let gallery = Gallery {
            about: vec!["top-1 90 %".into()],
            mistakes: 999,
            shown: shown.collect(),
            pairs: pairs(&confusion, &labels),
            classes: &classes,
        };
        gallery.page()
    }

    #[test]
    fn a_page_of_5_101_1_000_and_5_000_classes_is_whole_and_bounded() {
        for (classes, rows) in [(5, 5 + 4), (101, 101 + 50), (1000, 1000 + 50), (5000, 1000 + 50)] {
            let page = page_of(classes);
            for (tag, times) in
                [("figure", 60), ("figcaption", 60), ("table", 2), ("tr", rows + 2), ("main", 1)]
            {
                let count = |text: String| page.matches(&text).count();
                let opened = count(format!("<{tag}>")) + count(format!("<{tag} "));
                assert_eq!((opened, count(format!("</{tag}>"))), (times, times), "{tag} of {classes}");
            }
            assert_eq!(page.matches(" alt=\"a picture of class n").count(), 60);
            assert_eq!(page.contains("1000 of 5000; classes.csv has all"), classes == 5000);
            assert!(page.contains("98.7 %") && page.contains("60 of 999 mistakes"));
            assert!(page.len() < 2 << 20, "{} bytes", page.len());
        }
    }

    #[test]
    fn a_page_loads_nothing_and_runs_nothing() {
        let page = page_of(101);
        for part in
            ["http://", "https://", "//", "<script", "<link", "<iframe", "url(", "@import", "javascript:"]
        {
            // Base64 has slashes too.
            let found = page.lines().filter(|line| !line.contains("base64,")).any(|line| line.contains(part));
            assert!(!found, "{part}");
        }
        assert_eq!(page.matches(" src=\"").count(), page.matches(" src=\"data:image/jpeg;base64,").count());
        assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    }

    /// Folders and files may have any name, and so may labels.
    #[test]
    fn names_are_shown_as_they_are_and_never_as_html() {
        let evil = "\"><script>alert('x')</script>&amp;\n\u{0}";
        let labels = [evil.to_owned(), "rose".into()];
        let confusion = Confusion::from([((0, 1), 2)]);
        let classes = scores(&confusion, &labels);
        let shown = [Err(evil.into()), picture()].map(|picture| Shown {
            name: evil.into(),
            guess: evil.into(),
            label: evil.into(),
            probabilities: [1.0, 0.0],
            picture,
        });
        let gallery = Gallery {
            about: vec![evil.into()],
            mistakes: 2,
            shown: shown.into(),
            pairs: pairs(&confusion, &labels),
            classes: &classes,
        };
        let page = gallery.page();
        assert!(!page.contains("<script") && !page.contains("&amp;\n") && !page.contains('\u{0}'));
        let expected = "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;\u{fffd}\u{fffd}";
        // The line above, a reason, a text for a picture twice, two captions of three, a pair and a class.
        assert_eq!(page.matches(expected).count(), 1 + 1 + 2 + 6 + 1 + 1);
    }

    #[test]
    fn an_evaluation_without_mistakes_says_so() {
        let gallery =
            Gallery { about: Vec::new(), mistakes: 0, shown: Vec::new(), pairs: Vec::new(), classes: &[] };
        let page = gallery.page();
        assert!(
            page.contains("No image was taken for one of another class.") && !page.contains("confusions")
        );
    }
}
