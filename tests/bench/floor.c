/* The floor: a UDP echo by recvmmsg and sendmmsg that sets QR and does nothing else. Prints its port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { VECTOR = 64, OCTETS = 1500, BUFFER = 4 << 20 };

static unsigned char data[VECTOR][OCTETS];
static struct sockaddr_in peers[VECTOR];
static struct iovec parts[VECTOR];
static struct mmsghdr messages[VECTOR];

static void make_ready(int count)
{
    for (int i = 0; i < count; i++) {
        parts[i].iov_len = OCTETS;
        messages[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
}

int main(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int buffer = BUFFER, udp = socket(AF_INET, SOCK_DGRAM, 0);

    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (bind(udp, (struct sockaddr *)&here, size) || getsockname(udp, (struct sockaddr *)&here, &size)) {
        perror("floor");
        return 1;
    }
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (int i = 0; i < VECTOR; i++) {
        parts[i].iov_base = data[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &peers[i];
    }
    make_ready(VECTOR);
    for (;;) {
        int count = recvmmsg(udp, messages, VECTOR, MSG_WAITFORONE, NULL);
        if (count < 0 && errno != EINTR) {
            perror("floor");
            return 1;
        }
        for (int i = 0; i < count; i++) {
            parts[i].iov_len = messages[i].msg_len;
            data[i][2] |= 0x80;
        }
        for (int sent = 0; sent < count;) {
            int now = sendmmsg(udp, messages + sent, count - sent, 0);
            sent += now > 0 ? now : 1;
        }
        make_ready(count > 0 ? count : 0);
    }
}
