//! Photographs that are lent: whole files in the order of the request, a server that goes and comes back, and what
//! is refused.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{calls::script, support::*};
use protocol::*;

/// Bytes of the pictures by their number: of one piece, of none, of just one piece, of several.
const SIZES: [usize; 4] = [10, 0, PIECE, 3 * PIECE + 1];
/// Number of the picture that nobody can read.
const BROKEN: u32 = 4;

/// A holder of as many training images, and of one that cannot be read.
#[derive(Default)]
struct Holder {
    away: AtomicBool,
    /// Whether all but the first piece of a file takes for ever.
    held: AtomicBool,
    /// Pieces that were read of each picture.
    read: [AtomicU32; SIZES.len() + 1],
}

fn content(image: u32) -> Vec<u8> {
    (0..SIZES[image as usize]).map(|at| (at as u32 * 7 + image) as u8).collect()
}

fn data() -> DataDescription {
    let classes = vec!["rose".into(), "tulip".into()];
    DataDescription { images: 600_000, validation: 0, hash: "5eed".into(), classes }
}

impl Pictures for Holder {
    fn describe(&self) -> Result<LentData, Refusal> {
        Ok(LentData { data: data(), shards: vec![200_000, 400_000] })
    }

    fn labels(&self, LabelsRequest { start, .. }: LabelsRequest) -> Result<Vec<u32>, Refusal> {
        Ok(page_of_labels(600_000, start as usize).map(|image| image as u32 % 2).collect())
    }

    fn read(&self, validation: bool, image: u32, offset: u64) -> Result<PicturePiece, Refusal> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Refusal::NotReady("the data folder is away".into()));
        }
        if validation || image > BROKEN {
            return Err(Refusal::Invalid(format!("picture {image}: expected one of 5")));
        }
        self.read[image as usize].fetch_add(1, Ordering::Relaxed);
        while offset > 0 && self.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let name = format!("rose/{image}\n.jpg");
        if image == BROKEN {
            let end = PictureEnd { name, failure: Some("cannot be read: gone".into()) };
            return Ok(PicturePiece { bytes: Vec::new(), end: Some(end) });
        }
        let whole = content(image);
        let end = whole.len().min(offset as usize + PIECE);
        let bytes = whole[offset as usize..end].to_vec();
        let end = (end == whole.len()).then_some(PictureEnd { name, failure: None });
        Ok(PicturePiece { bytes, end })
    }
}

fn lending(holder: &Arc<Holder>) -> Option<Arc<dyn Coordinator>> {
    Some(Arc::new(Script { pictures: Some(holder.clone()), ..script() }))
}

async fn read(client: &CoordinatorClient, images: &[u32]) -> Result<Vec<LentPicture>, ClientError> {
    let mut came = Vec::new();
    let request = ReadRequest { validation: false, images: images.to_vec() };
    client.read_lent(request, |picture| came.push(picture)).await.map(|()| came)
}

#[tokio::test]
async fn files_come_whole_and_in_order_with_those_that_cannot_be_read_in_their_place() {
    let holder = Arc::default();
    let server = Server::start(lending(&holder), None);
    let client = CoordinatorClient::connect(&server.address, patience()).await.unwrap();
    let lent = client.lent_data().await.unwrap();
    assert_eq!(lent, Some(LentData { data: data(), shards: vec![200_000, 400_000] }));
    let mut labels = Vec::new();
    let mut pages = 0;
    while labels.len() < 600_000 {
        let request = LabelsRequest { validation: false, start: labels.len() as u32 };
        labels.extend(client.lent_labels(request).await.unwrap());
        pages += 1;
    }
    assert_eq!((pages, labels.len(), labels[599_999]), (3, 600_000, 1));

    let images = [3, BROKEN, 0, 1, 2, 0];
    let came = read(&client, &images).await.unwrap();
    for (picture, image) in came.iter().zip(images) {
        assert_eq!((picture.image, picture.name.as_str()), (image, &*format!("rose/{image}\\u{{a}}.jpg")));
        match &picture.bytes {
            Ok(bytes) => assert!(*bytes == content(image), "{image}"),
            Err(reason) => assert_eq!((image, reason.as_str()), (BROKEN, "cannot be read: gone")),
        }
    }
    assert_eq!(came.len(), images.len());
    assert_eq!(read(&client, &[]).await.unwrap(), []);
    server.stop().await;
}

#[tokio::test]
async fn what_there_is_not_is_refused_and_a_folder_that_is_away_is_said_to_be_so() {
    let holder: Arc<Holder> = Arc::default();
    let server = Server::start(lending(&holder), None);
    let client = CoordinatorClient::connect(&server.address, patience()).await.unwrap();
    let refused = |error: ClientError| error.refusal().cloned().unwrap_or_else(|| panic!("{error}"));
    let text = refused(read(&client, &[0, 5]).await.unwrap_err()).to_string();
    assert_eq!(text, "picture 5: expected one of 5");
    let text = refused(read(&client, &[0; MOST_PICTURES + 1]).await.unwrap_err()).to_string();
    assert_eq!(text, "ReadRequest.images: expected at most 256 images, found 257");
    holder.away.store(true, Ordering::Relaxed);
    let away = refused(read(&client, &[0]).await.unwrap_err());
    assert_eq!(away, Refusal::NotReady("the data folder is away".into()));
    server.stop().await;

    let server = Server::start(Some(Arc::new(script())), None);
    let client = CoordinatorClient::connect(&server.address, patience()).await.unwrap();
    assert_eq!(client.lent_data().await.unwrap(), None);
    assert_eq!(
        refused(read(&client, &[0]).await.unwrap_err()).to_string(),
        "this server lends no photographs"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_is_asked_for_what_is_missing() {
    let holder = Arc::new(Holder { held: AtomicBool::new(true), ..Holder::default() });
    let mut server = Some(Server::start(lending(&holder), None));
    let address: SocketAddr = server.as_ref().unwrap().address.parse().unwrap();
    let client = CoordinatorClient::connect(&address.to_string(), patience()).await.unwrap();
    let (mut came, mut again) = (Vec::new(), None);
    let images = vec![2, 3, 0, 3];
    let take = |picture: LentPicture| {
        came.push((picture.image, picture.bytes.unwrap()));
        if let Some(server) = server.take() {
            let holder = holder.clone();
            let restarted = std::thread::spawn(move || {
                // In the middle of the next.
                server.kill();
                holder.held.store(false, Ordering::Relaxed);
                Server::start_on(address, lending(&holder), None)
            });
            again = Some(restarted.join().unwrap());
        }
    };
    client.read_lent(ReadRequest { validation: false, images: images.clone() }, take).await.unwrap();
    assert!(came == images.iter().map(|&image| (image, content(image))).collect::<Vec<_>>());
    assert_eq!(holder.read[2].load(Ordering::Relaxed), 1, "what had arrived is not asked for again");
    again.unwrap().stop().await;
}
