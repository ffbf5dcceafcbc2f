package main

import (
	"context"

	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/broker"
	"github.com/micro/go-micro/v2/broker/memory"
	pb "github.com/micro/go-micro/v2/broker/service/proto"
)

// serving has a service answer as go.micro.broker, by go-micro's generated code, with go-micro's broker in memory behind it.
func serving(o *micro.Options) {
	kept := memory.NewBroker()
	if err := kept.Connect(); err != nil {
		fail(err)
	}
	if err := pb.RegisterBrokerHandler(o.Server, &brokerHandler{kept}); err != nil {
		fail(err)
	}
}

type brokerHandler struct{ kept broker.Broker }

func (h *brokerHandler) Publish(_ context.Context, asked *pb.PublishRequest, _ *pb.Empty) error {
	return h.kept.Publish(asked.Topic, &broker.Message{Header: asked.Message.Header, Body: asked.Message.Body})
}

func (h *brokerHandler) Subscribe(ctx context.Context, asked *pb.SubscribeRequest, stream pb.Broker_SubscribeStream) error {
	failed := make(chan error, 1)
	handler := func(event broker.Event) error {
		message := event.Message()
		// What was asked for, because this broker gives every message to all.
		header := map[string]string{"Asked-Queue": asked.Queue}
		for name, value := range message.Header {
			header[name] = value
		}
		if err := stream.Send(&pb.Message{Header: header, Body: message.Body}); err != nil {
			select {
			case failed <- err:
			default:
			}
		}
		return nil
	}
	subscribed, err := h.kept.Subscribe(asked.Topic, handler, broker.Queue(asked.Queue))
	if err != nil {
		return err
	}
	defer subscribed.Unsubscribe()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}
