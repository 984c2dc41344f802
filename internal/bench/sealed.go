package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// maxSealedCPU is how much more a command may cost with three sealed attributes.
	maxSealedCPU = 1.15
	// sealedBodies are sent in turn.
	sealedBodies = 500
)

// sealedAttributes are those that one of the two types names sensitive.
var sealedAttributes = []string{"email", "phone", "birthday"}

func sealedScenarios() []scenario {
	return []scenario{
		{name: "unsealed", about: "POST /entities of persons, nothing sealed", needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.persons(ctx, "bench_open", nil) }},
		{name: "sealed", about: "the same with three sensitive attributes, each person with a key", against: "unsealed", cpuWithin: maxSealedCPU, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) {
				return b.persons(ctx, "bench_sealed", sealedAttributes)
			}},
		{name: "unsealed-known", about: "PATCH of three attributes of persons, nothing sealed", needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) { return b.knownPersons(ctx, "bench_open", nil) }},
		{name: "sealed-known", about: "the same with the three sealed, by keys that there are", against: "unsealed-known", cpuWithin: maxSealedCPU, needsHub: true,
			run: func(ctx context.Context, b *bench) (sample, error) {
				return b.knownPersons(ctx, "bench_sealed", sealedAttributes)
			}},
	}
}

// knownPersons changes persons that it creates beforehand.
func (b *bench) knownPersons(ctx context.Context, kind string, sensitive []string) (sample, error) {
	duration := b.duration
	b.duration = time.Second
	created, err := b.persons(ctx, kind, sensitive)
	b.duration = duration
	if err == nil && created.Errors > 0 {
		err = fmt.Errorf("creating persons: %s", created.FirstError)
	}
	if err != nil {
		return sample{}, err
	}
	return b.onHub(ctx, "change", func(spec *loadSpec) { spec.IDs = created.Created })
}

// persons creates entities of a type that names attributes sensitive.
func (b *bench) persons(ctx context.Context, kind string, sensitive []string) (sample, error) {
	names := ""
	if len(sensitive) > 0 {
		names = `,"sensitive":["` + strings.Join(sensitive, `","`) + `"]`
	}
	if _, err := b.hub.request(ctx, http.MethodPut, "/api/v1/entity-types/"+kind, `{"title":"Person","schema":{"type":"object"}`+names+`}`,
		"Content-Type", "application/json"); err != nil {
		return sample{}, err
	}
	return b.onHub(ctx, "send", func(spec *loadSpec) {
		spec.Path = "/api/v1/entities"
		for i := range sealedBodies {
			spec.Bodies = append(spec.Bodies, fmt.Sprintf(`{"type":%q,"attributes":{"name":"Person %d","city":"Paris","email":"person.%[2]d@example.com","phone":"+33 1 23 45 %[2]d","birthday":"1990-01-%02[3]d"}}`,
				kind, i, 1+i%28))
		}
	})
}
