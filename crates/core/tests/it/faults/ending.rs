//! Channels that the parent ends and whose workers do not close their ends.

use socketserver_core::parent::notice::EndReason;

use crate::faulty::Faulty;
use crate::peer::ParentFrame;
use crate::world::{World, answer, answer_to, client, queue_of};

#[test]
fn a_dismissed_worker_that_stays_connected_loses_its_untaken_connections() {
    let world = World::on(Faulty::default().discards_unread(), &queue_of(4));
    let address = world.listen();
    let mut stays = world.peer().join();
    let client = client(address);
    let (_, held) = stays.one();
    world.server.end_channel(stays.channel);
    assert_eq!(world.end_of(stays.channel), EndReason::Dismissed);
    let other = world.worker();
    answer(other.one(), "by another");
    assert_eq!(answer_to(client), "by another");
    assert!(matches!(stays.remaining_frames()[..], [ParentFrame::Close(_)]));
    drop(held);
}

#[test]
fn an_ack_in_the_socket_is_read_before_the_channel_ends() {
    let world = World::on(Faulty::default().discards_unread(), &queue_of(4));
    let address = world.listen();
    let mut stays = world.peer().join();
    let _client = client(address);
    let (head, _held) = stays.one();
    stays.send_frames(|frames| frames.ack([head.id]));
    world.server.end_channel(stays.channel);
    assert_eq!(world.end_of(stays.channel), EndReason::Dismissed);
    let stats = world.server.stats();
    assert_eq!((stats.handed_off, stats.requeued), (1, 0));
}
