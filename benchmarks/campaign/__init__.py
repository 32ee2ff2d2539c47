"""The reference campaign: what is measured of a GPU in the little time that one can be had, stage by stage."""
