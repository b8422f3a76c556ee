"""One DNS client, for `ask`, the self-test and the tests; over UDP, TCP, TLS, HTTPS and QUIC."""
