// Command peer is the go-micro v2 side of the interop tests: a real service, a real client and a bare grpc-go
// endpoint, driven line by line from a test's stdin.
//
//	peer serve --name greeter [--address 127.0.0.1:0] [--version V] [--id ID]   a go-micro service with the defaults
//	peer client [--name caller]                                                 a go-micro client only
//	peer wire [--name X] [--address 127.0.0.1:0]                                a grpc-go server that answers by script
//	peer gateway [--address 127.0.0.1:0]                                        go-micro's HTTP gateway
//
// A service speaks TLS with --certificate and --key, a client with --authority. A client with --static takes the names of services
// for their addresses. With --subscribe, a service handles messages of these topics. With --nats, messages go by the NATS server at
// this address, and with --broker by the service go.micro.broker at it. With --brokers, a service is one: it keeps no messages.
//
// It prints one JSON line when it is up, answers every JSON line it reads, and ends when its stdin does, so a test
// that dies leaves nothing behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/broker"
	"github.com/micro/go-micro/v2/broker/nats"
	remote "github.com/micro/go-micro/v2/broker/service"
	selector "github.com/micro/go-micro/v2/client/selector/static"
	"github.com/micro/go-micro/v2/server"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("say what to be: serve, client, wire or gateway"))
	}
	role := os.Args[1]
	flags := flag.NewFlagSet(role, flag.ExitOnError)
	name := flags.String("name", "", "service name")
	address := flags.String("address", "127.0.0.1:0", "listen address")
	version := flags.String("version", "latest", "service version")
	id := flags.String("id", "", "server id; the node is called <name>-<id>")
	authority := flags.String("authority", "", "file of the authority a client trusts")
	certificate := flags.String("certificate", "", "file of the certificate a service shows")
	key := flags.String("key", "", "file of its key")
	subscribed := flags.String("subscribe", "", "topics of subscribers, as in orders,audit:queue")
	static := flags.Bool("static", false, "take names of services for addresses")
	natsServer := flags.String("nats", "", "address of a NATS server that carries messages")
	brokered := flags.String("broker", "", "address of a go.micro.broker that carries messages")
	brokers := flags.Bool("brokers", false, "serve go.micro.broker")
	flags.Parse(os.Args[2:])

	// go-micro reads the command line itself and does not know these flags.
	os.Args = os.Args[:1]

	var more []micro.Option
	if *authority != "" {
		more = append(more, trusting(*authority))
	}
	if *certificate != "" {
		more = append(more, showing(*certificate, *key))
	}
	if *natsServer != "" {
		more = append(more, micro.Broker(nats.NewBroker(broker.Addrs(*natsServer))))
	}
	if *brokered != "" {
		more = append(more, micro.Broker(remote.NewBroker(broker.Addrs(*brokered))))
	}
	if *brokers {
		more = append(more, serving)
	}
	if *static {
		more = append(more, micro.Selector(selector.NewSelector()))
	}

	lines := newLines()
	switch role {
	case "serve":
		serve(lines, *name, *address, *version, *id, *subscribed, more)
	case "client":
		service := newService(*name, "peer.client", more...)
		addOperations(lines, service)
		lines.ready(map[string]interface{}{})
		lines.run()
	case "wire":
		service := newService("", "peer.wire")
		addOperations(lines, service)
		wire, err := startWireServer(*name, *version, *address)
		if err != nil {
			fail(err)
		}
		wire.addTo(lines)
		lines.ready(map[string]interface{}{"address": wire.address, "node": wire.node})
		lines.run()
		wire.stop()
	case "gateway":
		gateway(lines, newService(*name, "peer.gateway", more...), *address)
	default:
		fail(fmt.Errorf("unknown role %q: say serve, client, wire or gateway", role))
	}
}

func newService(name, fallback string, options ...micro.Option) micro.Service {
	if name == "" {
		name = fallback
	}
	// The name comes first: NewService fixes Micro-From-Service from it.
	service := micro.NewService(append([]micro.Option{micro.Name(name)}, options...)...)
	service.Init()
	return service
}

func addOperations(lines *lines, service micro.Service) {
	addCalls(lines, service.Client())
	addPublish(lines, service.Client(), service.Options().Registry)
	addRegistry(lines, service.Options().Registry)
	addWireCalls(lines)
}

func serve(lines *lines, name, address, version, id, subscribed string, more []micro.Option) {
	if name == "" {
		fail(fmt.Errorf("serve needs --name"))
	}
	ctx, stop := context.WithCancel(context.Background())
	started := make(chan struct{})
	options := []micro.Option{
		micro.Address(address),
		micro.Version(version),
		micro.Context(ctx),
		micro.AfterStart(func() error { close(started); return nil }),
	}
	if id != "" {
		options = append(options, func(o *micro.Options) { o.Server.Init(server.Id(id)) })
	}
	service := newService(name, name, append(options, more...)...)
	addOperations(lines, service)

	events := newEvents()
	events.addTo(lines)
	greeter := newGreeter(service, events)
	if err := micro.RegisterHandler(service.Server(), greeter); err != nil {
		fail(err)
	}
	if err := subscribe(service, subscribed, events); err != nil {
		fail(err)
	}

	ended := make(chan error, 1)
	go func() { ended <- service.Run() }()
	select {
	case <-started:
	case err := <-ended:
		fail(fmt.Errorf("the service ended before it was up: %v", err))
	}

	gone := make(chan struct{})
	go func() {
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, "service:", err)
		}
		close(gone)
	}()
	// A graceful stop: deregister (the mDNS goodbye), then finish what is in flight.
	lines.on("stop", func(*request) (interface{}, error) {
		stop()
		<-gone
		return map[string]interface{}{}, nil
	})

	set := service.Server().Options()
	lines.ready(map[string]interface{}{"address": set.Address, "node": set.Name + "-" + set.Id})
	lines.run()
	stop()
	<-gone
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "peer:", err)
	os.Exit(1)
}
