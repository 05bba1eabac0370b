//! A panic on the server's thread is told, and ends what waits.

use socketserver_core::Notice;
use socketserver_core::worker::Phase;

use crate::faulty::Faulty;
use crate::share::{Folder, spec};
use crate::world::{World, client, queue_of};

fn assert_told(world: &World) {
    let told = world.notice("the panic is told", |notice| match notice {
        Notice::Failed { message } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(told, "a defect");
}

#[test]
fn of_the_acceptor() {
    let world = World::on(Faulty::default().accept(|_| panic!("a defect")), &queue_of(8));
    let worker = world.worker();
    let _client = client(world.listen());
    assert_told(&world);
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    world.server.drain();
    world.server.destroy();
}

#[test]
fn of_the_dispatcher() {
    let world = World::on(Faulty::default().send(|_| panic!("a defect")), &queue_of(8));
    let mut peer = world.peer();
    peer.say(|frames| frames.hello(crate::peer::hello()));
    assert_told(&world);
    peer.last_words();
}

#[test]
fn of_what_reads_a_channel() {
    let world = World::on(Faulty::default().receive(|_| panic!("a defect")), &queue_of(8));
    let mut peer = world.peer();
    peer.say(|frames| frames.hello(crate::peer::hello()));
    assert_told(&world);
    peer.last_words();
}

#[test]
fn of_a_shared_path() {
    let folder = Folder::new();
    let world = World::on(Faulty::default().credentials(|_| panic!("a defect")), &queue_of(8));
    let path = folder.file("ctl");
    let share = world.server.share(spec(&path)).unwrap();
    let mut peer = crate::share::peer(&path);
    assert_told(&world);
    peer.last_words();
    world.server.unshare(share);
}
