package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/golang/protobuf/jsonpb"
	"github.com/micro/go-micro/v2"
	"github.com/micro/go-micro/v2/client"
	"github.com/micro/go-micro/v2/metadata"
	"github.com/micro/go-micro/v2/registry"
	"github.com/micro/go-micro/v2/server"

	"peer/greeter"
)

// addPublish offers `{"op":"publish","topic":"orders","message":{…},"contentType":"application/json"}`; the message is a HelloRequest.
func addPublish(l *lines, c client.Client, r registry.Registry) {
	l.on("publish", func(request *request) (interface{}, error) {
		var ask struct {
			Topic       string            `json:"topic"`
			Message     json.RawMessage   `json:"message"`
			ContentType string            `json:"contentType"`
			Metadata    map[string]string `json:"metadata"`
		}
		if err := request.into(&ask); err != nil {
			return nil, err
		}
		message := new(greeter.HelloRequest)
		if err := jsonpb.UnmarshalString(string(ask.Message), message); err != nil {
			return nil, err
		}
		// A message without a subscriber stays in the publisher, and would come again with the next one.
		if c.Options().Broker.String() == "http" {
			if err := found(r, ask.Topic); err != nil {
				return nil, err
			}
		}
		var options []client.MessageOption
		if ask.ContentType != "" {
			options = append(options, client.WithMessageContentType(ask.ContentType))
		}
		ctx := metadata.NewContext(context.Background(), ask.Metadata)
		return map[string]interface{}{}, c.Publish(ctx, c.NewMessage(ask.Topic, message, options...))
	})
}

// found waits until a topic has a subscriber.
func found(r registry.Registry, topic string) error {
	until := time.Now().Add(10 * time.Second)
	for time.Now().Before(until) {
		services, _ := r.GetService("micro.http.broker")
		for _, service := range services {
			for _, node := range service.Nodes {
				if node.Metadata["topic"] == topic {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("nothing subscribes to %s", topic)
}

// subscribe adds a subscriber for each `topic` or `topic:queue` of a list; what they see are events of the kind "message".
func subscribe(service micro.Service, list string, seen *events) error {
	for _, one := range strings.Split(list, ",") {
		if one == "" {
			continue
		}
		topic, queue := one, ""
		if colon := strings.Index(one, ":"); colon >= 0 {
			topic, queue = one[:colon], one[colon+1:]
		}
		var options []server.SubscriberOption
		if queue != "" {
			options = append(options, server.SubscriberQueue(queue))
		}
		handler := func(ctx context.Context, message *greeter.HelloRequest) error {
			headers, _ := metadata.FromContext(ctx)
			seen.add("message", event{"topic": topic, "name": message.Name, "metadata": headers})
			return nil
		}
		if err := micro.RegisterSubscriber(topic, service.Server(), handler, options...); err != nil {
			return err
		}
	}
	return nil
}
