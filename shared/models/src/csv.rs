//! Predictions as CSV (RFC 4180): a head, and a line for each image.

/// Returns a line of CSV with these cells. A cell with a comma, a quote or a line break in it, as labels and file
/// names may have, is quoted.
pub(crate) fn line<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let mut line = String::new();
    for cell in cells {
        let cell = cell.as_ref();
        match cell.contains([',', '"', '\n', '\r']) {
            true => line += &format!("\"{}\",", cell.replace('"', "\"\"")),
            false => line += &format!("{cell},"),
        }
    }
    line.pop();
    line + "\n"
}

/// Returns the head of a file of predictions: the columns `first`, then a label and a probability for each of
/// the `guesses` most probable classes.
pub(crate) fn head(first: &[&str], guesses: usize) -> String {
    let guesses = (1..=guesses).flat_map(|place| [format!("guess {place}"), format!("probability {place}")]);
    line(first.iter().map(|&column| column.to_owned()).chain(guesses))
}

/// Returns the line of an image: the cells `first`, then each guess, given as its label and probability, the most
/// probable first.
pub(crate) fn of_image<'a>(first: &[&'a str], guesses: impl Iterator<Item = (&'a str, f32)>) -> String {
    let guesses = guesses.flat_map(|(label, probability)| [label.to_owned(), format!("{probability:.6}")]);
    line(first.iter().map(|&cell| cell.to_owned()).chain(guesses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_quoted() {
        let found = of_image(
            &["a,b/1 \"the first\".jpg", "two\nlines", "", " plain;\t"],
            [("n02123045 tabby, tabby cat", 0.75), ("Ährenfeld", 1e-9)].into_iter(),
        );
        let expected = "\"a,b/1 \"\"the first\"\".jpg\",\"two\nlines\",, plain;\t,\"n02123045 tabby, tabby \
                        cat\",0.750000,Ährenfeld,0.000000\n";
        assert_eq!(found, expected);
        assert_eq!(head(&["image"], 2), "image,guess 1,probability 1,guess 2,probability 2\n");
    }
}
