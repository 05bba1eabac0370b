/* A worker in C: joins the server that shares a path, and echoes one line to each client.
 *
 *     cc -O2 -o worker worker.c && ./worker /run/app.ctl
 *
 * Uses only POSIX, and serves one connection at a time. docs/protocol.md explains each step, PROTOCOL.md each byte.
 * An extension for another language can keep everything but serve(), which passes the descriptor to that language. */

#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* For CMSG_SPACE, which is in POSIX only since 2024. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { HELLO = 0x01, ACK, REFUSE, ENDED, CREDIT, CANCEL, LEAVE };
enum { WELCOME = 0x81, CONNECTION, RECALL, CANCELLED, DRAIN, RETIRE, CLOSE };
enum { OLDEST_VERSION = 1, NEWEST_VERSION = 1 };
enum { NO_DESCRIPTOR = 2 };                       /* reason of REFUSE */
enum { SERVER_ENDS = 1, DISMISSED = 2 };          /* reasons of CLOSE that are not errors */
enum { HEADER = 8, MAX_RECORDS = 64, MAX_FRAME = HEADER + MAX_RECORDS * 40 };
enum { SCM_MAX_FD = 253 };                        /* limit of the kernel per message */
enum { MAX_LINE = 4096, TIMEOUT = 30 };           /* bytes, seconds */

struct channel {
    int socket;
    unsigned char bytes[2 * MAX_FRAME];           /* received, not decoded yet; less than one frame after decoding */
    size_t length;
    int descriptors[SCM_MAX_FD + MAX_RECORDS];    /* received, not claimed by a frame yet; oldest first */
    size_t waiting;
    int truncated;                                /* the kernel dropped descriptors: the limit of open files is reached */
};

static int woken[2]; /* A pipe, so that poll(2) also returns for a signal that arrives just before the call. */

static void on_terminate(int signal_number)
{
    int saved = errno;
    ssize_t written = write(woken[1], "", 1); /* A full pipe already wakes poll(2). */
    (void)written, (void)signal_number;
    errno = saved;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void fail_with(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

/* Integers are little-endian on every machine. */

static void put(unsigned char *to, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) to[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get(const unsigned char *from, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) value |= (uint64_t)from[i] << 8 * i;
    return value;
}

/* Frames to be sent in one message. */
struct message {
    unsigned char bytes[128];
    size_t length;
};

/* Adds a frame with one record of this size, or without records for size 0. Returns the address of the record. */
static unsigned char *add(struct message *message, int kind, size_t size)
{
    unsigned char *frame = message->bytes + message->length;
    memset(frame, 0, HEADER + size);
    put(frame, size, 4);
    put(frame + 4, (uint64_t)kind, 1);
    put(frame + 6, size > 0, 2);
    message->length += HEADER + size;
    return frame + HEADER;
}

/* Grants credit for one connection on any port. */
static void add_credit(struct message *message)
{
    put(add(message, CREDIT, 8), 1, 4);
}

/* Sends a message. Returns 0 if the channel is closed; frames that the parent sent earlier can still be read. */
static int send_message(const struct channel *channel, const struct message *message)
{
    for (size_t sent = 0; sent < message->length;) {
        ssize_t count = send(channel->socket, message->bytes + sent, message->length - sent, 0);
        if (count < 0 && errno != EINTR) return 0;
        if (count > 0) sent += (size_t)count;
    }
    return 1;
}

/* Receives the available bytes. Returns 0 at the end of the stream. read(2) would silently close the descriptors. */
static int receive(struct channel *channel)
{
    union {
        struct cmsghdr align;
        unsigned char bytes[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
    } control;
    struct iovec bytes = {channel->bytes + channel->length, sizeof channel->bytes - channel->length};
    struct msghdr message;
    int flags = 0;
    ssize_t count;
#ifdef MSG_CMSG_CLOEXEC
    flags |= MSG_CMSG_CLOEXEC;
#endif
    do {
        memset(&message, 0, sizeof message);
        message.msg_iov = &bytes;
        message.msg_iovlen = 1;
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        count = recvmsg(channel->socket, &message, flags);
    } while (count < 0 && errno == EINTR);
    if (count < 0 && errno != ECONNRESET) fail("recvmsg");
    if (count <= 0) return 0;
    channel->length += (size_t)count;
    if (message.msg_flags & MSG_CTRUNC) channel->truncated = 1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t arrived = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (arrived > SCM_MAX_FD + MAX_RECORDS - channel->waiting)
            fail_with("The server has sent too many descriptors");
        int *descriptors = channel->descriptors + channel->waiting;
        memcpy(descriptors, CMSG_DATA(header), arrived * sizeof(int));
        for (size_t i = 0; i < arrived; i++) fcntl(descriptors[i], F_SETFD, FD_CLOEXEC);
        channel->waiting += arrived;
    }
    return 1;
}

/* Returns the oldest descriptor, which belongs to the current frame, or -1 if the kernel dropped it. */
static int claim(struct channel *channel)
{
    if (channel->waiting == 0) {
        if (!channel->truncated) fail_with("The server has sent a connection without its descriptor");
        return -1;
    }
    int oldest = channel->descriptors[0];
    memmove(channel->descriptors, channel->descriptors + 1, --channel->waiting * sizeof(int));
    return oldest;
}

static size_t record_size(int kind)
{
    switch (kind) {
    case WELCOME: return 12;
    case CONNECTION: return 40;
    case RECALL: case CANCELLED: case CLOSE: return 8;
    case DRAIN: case RETIRE: return 0;
    default: fail_with("The server has sent a frame of an unknown kind"); return 0;
    }
}

/* Copies the next frame and removes it. Returns its kind, or 0 if the frame is incomplete. */
static int next_frame(struct channel *channel, unsigned char *frame)
{
    if (channel->length < HEADER) return 0;
    size_t length = get(channel->bytes, 4), count = get(channel->bytes + 6, 2);
    int kind = channel->bytes[4];
    size_t size = record_size(kind);
    if (channel->bytes[5] != 0 || count > MAX_RECORDS || (count > 0) != (size > 0) || length != count * size)
        fail_with("The server has sent an invalid frame");
    if (channel->length < HEADER + length) return 0;
    memcpy(frame, channel->bytes, HEADER + length);
    channel->length -= HEADER + length;
    memmove(channel->bytes, channel->bytes + HEADER + length, channel->length);
    return kind;
}

/* Sends LEAVE and exits. Connections without an ACK go to other workers when the channel closes. */
static void leave(const struct channel *channel)
{
    struct message message = {{0}, 0};
    add(&message, LEAVE, 0);
    send_message(channel, &message);
    exit(0);
}

/* Waits for the next frame. Returns its kind, or 0 at the end of the stream. Exits the process on SIGTERM. */
static int read_frame(struct channel *channel, unsigned char *frame)
{
    for (;;) {
        int kind = next_frame(channel, frame);
        if (kind != 0) return kind;
        if (channel->length == 0) {
            if (channel->waiting > 0) fail_with("The server has sent a descriptor that no frame declares");
            channel->truncated = 0;
        }
        struct pollfd polled[] = {{channel->socket, POLLIN, 0}, {woken[0], POLLIN, 0}};
        if (poll(polled, 2, -1) < 0) {
            if (errno != EINTR) fail("poll");
            continue;
        }
        if (polled[1].revents != 0) leave(channel);
        if (!receive(channel)) return 0;
    }
}

/* Echoes the first line, after the name of this worker. */
static void serve(int connection)
{
    struct timeval timeout = {TIMEOUT, 0};
    char line[MAX_LINE], name[32];
    size_t length = 0;
    /* All copies of the descriptor share these flags and options, so they must not be changed before the ACK. */
    fcntl(connection, F_SETFL, fcntl(connection, F_GETFL) & ~O_NONBLOCK);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    while (length < sizeof line && memchr(line, '\n', length) == NULL) {
        ssize_t count = recv(connection, line + length, sizeof line - length, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) goto over;
        if (count == 0) break;
        length += (size_t)count;
    }
    struct iovec answer[] = {{name, (size_t)snprintf(name, sizeof name, "c-%ld ", (long)getpid())}, {line, length}};
    for (size_t i = 0; i < 2; i++) {
        for (size_t sent = 0; sent < answer[i].iov_len;) {
            ssize_t count = send(connection, (char *)answer[i].iov_base + sent, answer[i].iov_len - sent, 0);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) goto over;
            sent += (size_t)count;
        }
    }
over:
    /* close(2) sends no FIN while another process has a copy, such as a stalled worker that was sent it before. */
    shutdown(connection, SHUT_WR);
    close(connection);
}

/* Accepts one connection, or refuses the connection if its descriptor is missing. */
static void take(struct channel *channel, const unsigned char *record)
{
    uint64_t number = get(record, 8);
    int connection = claim(channel);
    struct message message = {{0}, 0};
    if (connection < 0) {
        unsigned char *refusal = add(&message, REFUSE, 12);
        put(refusal, number, 8);
        put(refusal + 8, NO_DESCRIPTOR, 4);
        add_credit(&message);
        send_message(channel, &message);
        return;
    }
    put(add(&message, ACK, 8), number, 8);
    if (!send_message(channel, &message)) {
        /* After a CLOSE another worker gets the connection. Without a CLOSE the parent has died: serve it here. */
        unsigned char frame[MAX_FRAME];
        int kind;
        while ((kind = read_frame(channel, frame)) != 0) {
            if (kind == CLOSE) exit(0);
        }
        serve(connection);
        return;
    }
    serve(connection);
    message.length = 0;
    put(add(&message, ENDED, 4), 1, 4);
    add_credit(&message);
    send_message(channel, &message);
}

static void join(struct channel *channel, const char *path)
{
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path) fail_with("The path is too long for a socket");
    strcpy(address.sun_path, path);
    channel->socket = socket(AF_UNIX, SOCK_STREAM, 0);
    if (channel->socket < 0) fail("socket");
    /* With a copy of the channel in a child, the parent would not notice the death of this process. */
    fcntl(channel->socket, F_SETFD, FD_CLOEXEC);
    if (connect(channel->socket, (struct sockaddr *)&address, sizeof address) < 0) fail(path);

    struct message message = {{0}, 0};
    unsigned char *hello = add(&message, HELLO, 16);
    memcpy(hello, "SSRV", 4);
    put(hello + 4, OLDEST_VERSION, 2);
    put(hello + 6, NEWEST_VERSION, 2);
    put(hello + 8, (uint64_t)getpid(), 4);
    add_credit(&message);
    send_message(channel, &message);
}

int main(int count, char **arguments)
{
    static struct channel channel;
    static unsigned char frame[MAX_FRAME];
    struct sigaction action;
    int kind;
    if (count != 2) fail_with("usage: worker PATH");
    if (pipe(woken) < 0) fail("pipe");
    for (int i = 0; i < 2; i++) {
        fcntl(woken[i], F_SETFD, FD_CLOEXEC);
        fcntl(woken[i], F_SETFL, O_NONBLOCK);
    }
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_terminate;
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN; /* send(2) then fails with EPIPE when a client or the parent has disconnected. */
    sigaction(SIGPIPE, &action, NULL);

    join(&channel, arguments[1]);
    while ((kind = read_frame(&channel, frame)) != 0) {
        size_t records = get(frame + 6, 2);
        switch (kind) {
        case CONNECTION:
            for (size_t i = 0; i < records; i++) take(&channel, frame + HEADER + 40 * i);
            break;
        case RETIRE: /* This thread holds no lease while it reads. */
            return 0;
        case CLOSE: {
            unsigned reason = (unsigned)get(frame + HEADER, 4), detail = (unsigned)get(frame + HEADER + 4, 4);
            if (reason == SERVER_ENDS || reason == DISMISSED) return 0;
            fprintf(stderr, "The server has closed the channel: reason %u, detail %u\n", reason, detail);
            return 1;
        }
        default: /* WELCOME; a RECALL that crossed an ACK; CANCELLED; DRAIN, for idle connections: there are none. */
            break;
        }
    }
    fail_with("The server has died");
}
