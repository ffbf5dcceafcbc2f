package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/ioutil"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/client/grpc"
	"github.com/micro/go-micro/v2/server"
)

// trusting has the client speak TLS with every node, and trust the authority in the file.
func trusting(file string) micro.Option {
	text, err := ioutil.ReadFile(file)
	if err != nil {
		fail(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		fail(fmt.Errorf("%s holds no certificate", file))
	}
	return func(o *micro.Options) { o.Client.Init(grpc.AuthTLS(&tls.Config{RootCAs: roots})) }
}

// showing has the server speak TLS with a certificate. It offers no protocol by ALPN, as go-micro's option leaves it.
func showing(certificate, key string) micro.Option {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		fail(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	return func(o *micro.Options) { o.Server.Init(func(s *server.Options) { s.TLSConfig = config }) }
}
