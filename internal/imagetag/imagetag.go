// Package imagetag is the meaning of the tags in the application's image repository. buildspec.yml pushes [Commit], the seed
// function [Seed] and [Placeholder], the function that follows deployments moves [Live], and templates name [Live] and [Seed].
package imagetag

import "strings"

const (
	Live = "live" // the image of the last deployment that ECS completed; the only tag that a template names for the application
	Seed = "seed" // this project's own image: the placeholder, and the schema task's helper

	Commit      = "sha-"         // begins the tag of a build, before its commit; such a tag never moves
	Placeholder = "placeholder-" // begins the tag by which each placeholder stays, before the beginning of its digest
)

// IsCommit tells whether a tag is one that never moves.
func IsCommit(tag string) bool { return strings.HasPrefix(tag, Commit) }
