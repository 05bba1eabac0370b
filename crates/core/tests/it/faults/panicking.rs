//! A panic on the server's thread is reported and ends the server.

use socketserver_core::Notice;
use socketserver_core::worker::Phase;

use crate::faulty::Faulty;
use crate::share::{Folder, spec};
use crate::world::{World, client, queue_of};

fn assert_reported(world: &World) {
    let message = world.notice("the panic is reported", |notice| match notice {
        Notice::Failed { message } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(message, "a defect");
}

#[test]
fn a_panic_of_the_acceptor_ends_the_server() {
    let world = World::on(Faulty::default().accept(|_| panic!("a defect")), &queue_of(8));
    let worker = world.worker();
    let _client = client(world.listen());
    assert_reported(&world);
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    world.server.drain();
    world.server.destroy();
}

#[test]
fn a_panic_of_the_dispatcher_ends_the_server() {
    let world = World::on(Faulty::default().send(|_| panic!("a defect")), &queue_of(8));
    let mut peer = world.peer();
    peer.send_frames(|frames| frames.hello(crate::peer::hello()));
    assert_reported(&world);
    peer.remaining_frames();
}

#[test]
fn a_panic_of_a_channel_reader_ends_the_server() {
    let world = World::on(Faulty::default().receive(|_| panic!("a defect")), &queue_of(8));
    let mut peer = world.peer();
    peer.send_frames(|frames| frames.hello(crate::peer::hello()));
    assert_reported(&world);
    peer.remaining_frames();
}

#[test]
fn a_panic_of_a_share_ends_the_server() {
    let folder = Folder::new();
    let world = World::on(Faulty::default().credentials(|_| panic!("a defect")), &queue_of(8));
    let path = folder.file("ctl");
    let share = world.server.share(spec(&path)).unwrap();
    let mut peer = crate::share::peer(&path);
    assert_reported(&world);
    peer.remaining_frames();
    world.server.unshare(share);
}
