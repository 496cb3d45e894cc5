/* Many clients of a streaming server in one thread, for the load generator and the soak: they
 * connect, speak HTTP and WebSocket (RFC 6455) as far as a client of Mastodon's does, and tell what
 * arrives. Frames are read into one shared buffer; of a message only its length and its first bytes
 * are kept, so that the generator costs little itself.
 *
 * One thread. Time is seconds as a double since an unspecified start (peer_now).
 */
#pragma once
#include "base/util.h"
#include <sys/socket.h>

typedef enum PeerState { PEER_NONE, PEER_CONNECTING, PEER_ASKED, PEER_OPEN } PeerState;

typedef struct Peer {
    int fd;
    uint32_t number; /* which account; the caller's */
    uint8_t state, opcode, head_len, head[14];
    bool sse;  /* an event stream: its bytes are only counted */
    bool deaf; /* is not read */
    uint16_t start_len;
    uint32_t epoch;      /* the caller's */
    uint64_t left, size; /* of the frame that is being read */
    int64_t seen;        /* the caller's: last sequence number */
    char start[400];     /* of the answer's head, or of the frame's payload */
} Peer;

typedef struct Peers Peers;
struct Peers {
    int epoll;
    struct sockaddr_storage address;
    socklen_t address_len;
    void (*on_open)(Peers *p, Peer *peer,
                    int status);              /* 101, 200 or what the server said instead */
    void (*on_message)(Peers *p, Peer *peer); /* a text frame is complete: start, start_len, size */
    void (*on_end)(Peers *p, Peer *peer,
                   const char *why);        /* the other side ended it; peer is PEER_NONE */
    void (*on_other)(Peers *p, void *what); /* another descriptor of peers_watch */
    void *user;
    uint64_t bytes;
    char *buffer;
};

/* "127.0.0.1:4000" or the path of a unix socket. Ends the program when it is neither. */
void peers_init(Peers *p, const char *address);
void peers_clear(Peers *p);
/* Another descriptor (of Redis) to be waited for with them. */
void peers_watch(Peers *p, int fd, void *what);
void peers_forget(Peers *p, int fd);
/* Connects and sends the request; nothing is waited for. False: no descriptor or port was free. */
bool peer_open(Peers *p, Peer *peer, const char *request);
/* One round: waits at most that long. */
void peers_turn(Peers *p, double seconds);
/* A frame of a client, masked, at once; false when it can't be written whole. */
bool peer_send(Peer *peer, int opcode, const char *text, size_t len);
bool peer_write(Peer *peer, const void *bytes, size_t len);
void peer_close(Peer *peer);
void peer_reset(Peer *peer); /* with RST */
/* The handshake of an account: token in the header, an address of its own as from nginx. */
char *peer_request(const char *token, uint32_t number, const char *path, bool sse);
double peer_now(void);
